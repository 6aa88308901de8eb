// Several cameras: a still of each, which turns live one by one; a tile opens large. `core/roster.ts` decides who is live.

import { complete, type Fields, type Link } from '../core/link.ts';
import { Roster, whoIsLive, type Listed } from '../core/roster.ts';
import { textsFor } from '../texts/index.ts';
import { Listing } from '../net/listing.ts';
import { Tile } from './tile.ts';

const LOOK_MS = 500;
/** Stills that came before anything else of their camera. */
const MOST_EARLY = 64;

export class Grid {
  private readonly list = document.createElement('ul');
  private readonly note = document.createElement('p');
  private readonly tiles = new Map<string, Tile>();
  private readonly inView = new WeakMap<Element, boolean>();
  private readonly seer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) this.inView.set(target, isIntersecting);
    this.look();
  });
  private large: Tile | undefined;

  constructor(private readonly place: HTMLElement) {
    document.documentElement.dataset['phase'] = 'grid';
    document.title = `${textsFor().page.cameras} · Porthole`;
    document.getElementById('title')!.textContent = textsFor().page.cameras;
    this.list.className = 'grid';
    this.note.setAttribute('role', 'status');
    place.append(this.note, this.list);
    setInterval(() => this.look(), LOOK_MS);
    document.addEventListener('visibilitychange', () => this.look());
    // After the bar, which closes its panel first.
    window.addEventListener('keydown', ({ key, defaultPrevented }) => key === 'Escape' && !defaultPrevented && this.enlarge(undefined));
  }

  /** These cameras, each as its link says. */
  show(cameras: readonly Fields[]): void {
    const byConnection = new Map<string, Link[]>();
    cameras.forEach((fields, at) => {
      const tile = this.add(String(at), fields);
      const link = complete(fields, location.protocol);
      if (Array.isArray(link)) return;
      tile.name(fields.name ?? link.device);
      const key = JSON.stringify([link.url, link.username, link.grant, link.secret, link.root]);
      byConnection.set(key, [...(byConnection.get(key) ?? []), link]);
    });
    for (const links of byConnection.values()) {
      const { root } = links[0]!;
      const at = (device: string): number => cameras.findIndex((camera) => camera.device === device && (camera.root ?? 'porthole') === root);
      this.listen(links[0]!, links.map(({ device }) => device), (device) => this.tiles.get(String(at(device))));
    }
  }

  /** Whatever cameras the broker tells of. */
  showAll(link: Link, fields: Fields): void {
    this.say(textsFor().page.looking, '');
    const early = new Map<string, Uint8Array>();
    this.listen(link, ['+'], (device, listed, bytes) => {
      this.arrange(listed, fields);
      const tile = this.tiles.get(device);
      if (!tile && bytes && early.size < MOST_EARLY) early.set(device, bytes);
      const still = early.get(device);
      if (tile && still && early.delete(device)) tile.still(still);
      return tile;
    });
  }

  private listen(link: Link, devices: readonly string[], tileOf: (device: string, listed: readonly Listed[], bytes?: Uint8Array) => Tile | undefined): void {
    const roster = new Roster(link.root);
    const { host } = new URL(link.url);
    const { page, words: { broker } } = textsFor();
    new Listing(link, devices, {
      message: (topic, payload, bytes) => {
        const device = roster.take(topic, payload) ?? '';
        const tile = tileOf(device, roster.all(), bytes);
        const listed = roster.get(device);
        if (bytes) tile?.still(bytes);
        else if (listed) tile?.listed(listed);
        this.look();
      },
      listened: (granted) => {
        if (this.tiles.size === 0) this.say(...(granted ? page.noCameras(host) : broker.notAllowed(host)));
      },
      ended: (end) => {
        if (this.tiles.size > 0) return;
        this.say(...(typeof end === 'object' ? broker.password(host) : broker.unreachable(host, false)));
      },
    });
  }

  /** As many tiles as there are cameras, in their order. */
  private arrange(listed: readonly Listed[], fields: Fields): void {
    for (const { device } of listed) if (!this.tiles.has(device)) this.add(device, { ...fields, device });
    for (const [id, tile] of this.tiles) if (!listed.some(({ device }) => device === id)) this.remove(id, tile);
    listed.forEach(({ device }, at) => {
      const { item } = this.tiles.get(device)!;
      // Only what has moved: an element that is taken out starts to leave.
      if (this.list.children[at] !== item) this.list.insertBefore(item, this.list.children[at] ?? null);
    });
    if (listed.length > 0) this.say('', '');
  }

  private add(id: string, fields: Fields): Tile {
    const tile = new Tile(fields, () => this.enlarge(this.large === tile ? undefined : tile));
    this.tiles.set(id, tile);
    this.list.append(tile.item);
    this.seer.observe(tile.item);
    return tile;
  }

  private remove(id: string, tile: Tile): void {
    if (this.large === tile) this.enlarge(undefined);
    this.seer.unobserve(tile.item);
    tile.setLive(false);
    tile.item.remove();
    this.tiles.delete(id);
  }

  private enlarge(tile: Tile | undefined): void {
    if (this.large === tile) return;
    this.large?.setLarge(false);
    tile?.setLarge(true);
    this.large = tile;
    this.place.classList.toggle('has-large', tile !== undefined);
    this.look();
  }

  private look(): void {
    const states = this.inOrder().map(([id, tile]) => tile.stateAs(id, this.inView.get(tile.item) ?? false));
    const large = [...this.tiles].find(([, tile]) => tile === this.large)?.[0];
    const live = whoIsLive(states, large, performance.now());
    for (const [id, tile] of this.tiles) tile.setLive(live.has(id));
  }

  /** As they stand on the page. */
  private inOrder(): [string, Tile][] {
    const all = [...this.tiles];
    const items = [...this.list.children];
    return all.sort(([, a], [, b]) => items.indexOf(a.item) - items.indexOf(b.item));
  }

  private say(text: string, hint: string): void {
    const words = [text, hint].filter((part) => part !== '').join(' ');
    if (this.note.textContent !== words) this.note.textContent = words;
    this.note.hidden = words === '';
  }

  /** For tests and for automation. */
  state(): object {
    return { phase: 'grid', text: this.note.textContent, large: this.large?.device, cameras: this.inOrder().map(([, tile]) => tile.told()) };
  }
}
