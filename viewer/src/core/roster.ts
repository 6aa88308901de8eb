// Which cameras a broker tells of, and which of them are shown live. Pure.

import type { Phase } from './words.ts';
import { isId } from './link.ts';
import { parseInfo, parsePresence, type Presence } from './status.ts';

/** More than a page shows; a broker that tells of more may be lying. */
const MOST_CAMERAS = 64;
/** So many are live at once: each costs its device a viewer's place and this machine a decoder. */
export const MOST_LIVE = 6;
/** One after another, but one that doesn't come doesn't keep the others back. */
const START_MS = 4_000;

export interface Listed {
  device: string;
  name: string;
  presence: Presence;
}

/** What is retained below a root, put together. */
export class Roster {
  private readonly listed = new Map<string, Listed>();

  constructor(private readonly root: string) {}

  /** The device that the message was of. */
  take(topic: string, payload: string): string | undefined {
    if (!topic.startsWith(`${this.root}/`)) return undefined;
    const [device, leaf, ...more] = topic.slice(this.root.length + 1).split('/');
    if (!isId(device) || more.length > 0) return undefined;
    const known = this.listed.get(device);
    if (leaf === 'info' && payload === '') {
      this.listed.delete(device); // its owner has taken it away
      return undefined;
    }
    if (leaf === 'snapshot') return device; // which may come before the rest
    if (leaf !== 'info' && leaf !== 'availability') return undefined;
    if (!known && this.listed.size >= MOST_CAMERAS) return undefined;
    const next: Listed = { ...(known ?? { device, name: device, presence: 'unknown' }) };
    if (leaf === 'info') next.name = parseInfo(payload).name ?? device;
    else next.presence = parsePresence(payload);
    this.listed.set(device, next);
    return device;
  }

  get(device: string): Listed | undefined {
    return this.listed.get(device);
  }

  /** By name, as people look for them. */
  all(): Listed[] {
    return [...this.listed.values()].sort((a, b) => a.name.localeCompare(b.name) || (a.device < b.device ? -1 : 1));
  }
}

export interface TileState {
  id: string;
  /** Somebody can see it without scrolling. */
  inView: boolean;
  presence: Presence;
  /** What its camera says, while one is there. */
  phase?: Phase;
  /** When that was started, in ms. */
  startedMs?: number;
}

/** Which tiles have a live camera, in the order of the page; `large` is the one that fills it. */
export function whoIsLive(tiles: readonly TileState[], large: string | undefined, nowMs: number): Set<string> {
  if (large !== undefined) return new Set([large]);
  const wanted = tiles.filter(({ inView, presence }) => inView && presence !== 'offline').slice(0, MOST_LIVE);
  const live = new Set(wanted.filter(({ phase }) => phase !== undefined).map(({ id }) => id));
  const isComing = ({ id, phase, startedMs = 0 }: TileState): boolean => live.has(id) && isStarting(phase) && nowMs - startedMs < START_MS;
  const next = wanted.find(({ id }) => !live.has(id));
  if (next && !wanted.some(isComing)) live.add(next.id);
  return live;
}

const isStarting = (phase: Phase | undefined): boolean =>
  phase === 'starting' || phase === 'broker-connecting' || phase === 'calling' || phase === 'opening';
