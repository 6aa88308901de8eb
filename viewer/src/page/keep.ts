// Where a link's secret is while somebody watches: not in the address bar, where it would be read over a shoulder or copied, but
// in this tab's own storage, and, only if the person asks, on this device. Storages are passed in, so tests need no browser.

import { parseCameras, toCamerasFragment, withoutSecrets } from '../core/cameras.ts';
import { complete, type Fields } from '../core/link.ts';

/** The part of `Storage` that is used. Each call may throw: a frame of another site, a private window, a full disk. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const KEPT = 'porthole.kept';
const TAB = 'porthole.tab:';
const MOST_KEPT = 64;

export interface Opened {
  /** At least one; without any field where the address says nothing and nothing is kept. */
  cameras: Fields[];
  /** What the address bar should say from now on, where that is another thing. */
  address?: string;
  /** The address named no camera: these were kept. */
  fromKept?: boolean;
}

export class Links {
  constructor(
    private readonly tab: () => Store,
    private readonly device: () => Store,
  ) {}

  /** What the address says, made whole again from what was kept. */
  open(hash: string): Opened {
    const cameras = parseCameras(hash);
    const bare = bareOf(cameras);
    if (bare === '#') {
      const kept = this.kept();
      return kept.length > 0 ? { cameras: kept, fromKept: true } : { cameras };
    }
    if (bare === toCamerasFragment(cameras)) {
      const whole = this.read(this.tab, TAB + bare);
      if (whole !== undefined) return { cameras: parseCameras(whole) };
      return { cameras: cameras.map((camera) => this.keptLike(camera) ?? camera) };
    }
    // A damaged link stays as it is: there is nothing in it to be used, and much to be seen.
    const isWhole = cameras.every((camera) => !Array.isArray(complete({ broker: 'ws://h', device: 'd', ...camera })));
    return isWhole ? { cameras, address: this.hold(cameras) } : { cameras };
  }

  /** Puts the whole link where a reload of this tab finds it, and says what the address then is: all of it where nothing can be put. */
  hold(cameras: readonly Fields[]): string {
    const [bare, whole] = [bareOf(cameras), toCamerasFragment(cameras)];
    return bare !== whole && this.write(this.tab, TAB + bare, whole) ? bare : whole;
  }

  kept(): Fields[] {
    const text = this.read(this.device, KEPT);
    if (text === undefined) return [];
    try {
      const json: unknown = JSON.parse(text);
      const links = Array.isArray(json) ? json.filter((link): link is string => typeof link === 'string') : [];
      const cameras = links.slice(0, MOST_KEPT).map((link) => parseCameras(link)[0]!);
      return cameras.filter(({ device, repeated }) => device !== undefined && !repeated);
    } catch {
      return [];
    }
  }

  isKept(cameras: readonly Fields[]): boolean {
    return cameras.every((camera) => this.keptLike(camera) !== undefined);
  }

  /** False where this browser keeps nothing. */
  keep(cameras: readonly Fields[]): boolean {
    const all = [...this.without(cameras), ...cameras].slice(-MOST_KEPT);
    return this.put(all);
  }

  forget(cameras: readonly Fields[]): void {
    this.put(this.without(cameras));
  }

  private put(cameras: readonly Fields[]): boolean {
    if (cameras.length > 0) return this.write(this.device, KEPT, JSON.stringify(cameras.map((camera) => toCamerasFragment([camera]))));
    try {
      this.device().removeItem(KEPT);
      return true;
    } catch {
      return false;
    }
  }

  private without(cameras: readonly Fields[]): Fields[] {
    const gone = new Set(cameras.map((camera) => bareOf([camera])));
    return this.kept().filter((camera) => !gone.has(bareOf([camera])));
  }

  private keptLike(camera: Fields): Fields | undefined {
    const bare = bareOf([camera]);
    return this.kept().find((kept) => bareOf([kept]) === bare);
  }

  private read(store: () => Store, key: string): string | undefined {
    try {
      return store().getItem(key) ?? undefined;
    } catch {
      return undefined;
    }
  }

  private write(store: () => Store, key: string, value: string): boolean {
    try {
      store().setItem(key, value);
      return true;
    } catch {
      return false;
    }
  }
}

const bareOf = (cameras: readonly Fields[]): string => toCamerasFragment(cameras.map(withoutSecrets));
