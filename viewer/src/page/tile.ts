// One camera of several: its still, its live picture when it has one, its name and state in words. Pressed, it becomes large.

import type { Fields } from '../core/link.ts';
import type { Listed, TileState } from '../core/roster.ts';
import type { PortholeCamera } from '../element/element.ts';
import { textsFor } from '../texts/index.ts';

export class Tile {
  readonly item = document.createElement('li');
  private readonly picture = document.createElement('img');
  private readonly button = document.createElement('button');
  private readonly label = document.createElement('span');
  private readonly words = document.createElement('span');
  private camera: PortholeCamera | undefined;
  private startedMs = 0;
  private about: Listed;
  private isLarge = false;

  constructor(private readonly fields: Fields, press: () => void) {
    const device = fields.device ?? '';
    this.about = { device, name: fields.name ?? device, presence: 'unknown' };
    this.picture.alt = '';
    this.picture.hidden = true;
    this.label.className = 'label';
    this.words.className = 'state';
    this.button.type = 'button';
    this.button.append(this.label, this.words);
    this.button.addEventListener('click', press);
    this.item.append(this.picture, this.button);
    this.update();
  }

  get device(): string {
    return this.about.device;
  }

  name(name: string): void {
    this.about = { ...this.about, name };
    this.update();
  }

  listed(about: Listed): void {
    this.about = about;
    this.update();
  }

  /** A JPEG as the device retains it; none, when its owner has cleared it. */
  still(bytes: Uint8Array): void {
    this.show(bytes.length > 0 ? new Blob([bytes as Uint8Array<ArrayBuffer>], { type: 'image/jpeg' }) : undefined);
  }

  stateAs(id: string, inView: boolean): TileState {
    const { camera, startedMs } = this;
    const state: TileState = { id, inView: inView && !document.hidden, presence: this.about.presence };
    return camera ? { ...state, phase: camera.state.phase, startedMs } : state;
  }

  setLive(live: boolean): void {
    if (live === (this.camera !== undefined)) return;
    if (live) this.start();
    else this.end();
    this.update();
  }

  setLarge(large: boolean): void {
    this.isLarge = large;
    this.item.classList.toggle('large', large);
    this.camera?.toggleAttribute('controls', large);
    this.update();
  }

  told(): object {
    return { device: this.about.device, phase: this.camera?.state.phase, text: this.words.textContent, still: !this.picture.hidden };
  }

  private start(): void {
    const camera: PortholeCamera = document.createElement('porthole-camera');
    camera.fields = this.fields;
    camera.toggleAttribute('controls', this.isLarge);
    for (const type of ['state', 'camera']) camera.addEventListener(type, () => this.update());
    this.item.insertBefore(camera, this.button);
    this.camera = camera;
    this.startedMs = performance.now();
  }

  /** Its last picture stays as a still. */
  private end(): void {
    const { camera } = this;
    this.camera = undefined;
    if (camera?.state.phase === 'live') void camera.snapshot().then((last) => last && this.show(last), () => undefined).finally(() => camera.remove());
    else camera?.remove();
  }

  private show(picture: Blob | undefined): void {
    const before = this.picture.src;
    if (picture) this.picture.src = URL.createObjectURL(picture);
    else this.picture.removeAttribute('src');
    this.picture.hidden = !picture;
    if (before !== '') URL.revokeObjectURL(before);
    this.update();
  }

  private update(): void {
    const texts = textsFor().page;
    const { camera, about } = this;
    if (camera && camera.camera.name !== about.device && about.name === about.device) this.about = { ...about, name: camera.camera.name };
    write(this.label, this.about.name);
    const said = camera ? camera.state.text : about.presence === 'offline' ? texts.isOffline : this.picture.hidden ? '' : texts.still;
    write(this.words, said);
    const label = this.isLarge ? texts.back : texts.open(this.about.name);
    if (this.button.title !== label) this.button.title = label;
    this.item.dataset['phase'] = camera?.state.phase ?? (about.presence === 'offline' ? 'device-offline' : 'still');
  }
}

function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
