// What the element gives to the parts of its bar: one camera as somebody watches it. Types only.

import type { Info, DeviceState } from './core/status.ts';
import type { Say } from './core/words.ts';

/** A right of a grant (docs/protocol.md, section 2.2). */
export type Right = 'view' | 'control' | 'snapshot' | 'talk';

/** What the device answered to a request on the data channel (docs/protocol.md, section 6). */
export interface Reply {
  ok: boolean;
  /** A code of section 2.1, or words. */
  error?: string;
  message?: string;
}

/** One second of a session; what is not known is left out. */
export interface Sample {
  /** When it was taken, in ms of `performance.now()`. */
  atMs: number;
  glassToGlassMs?: number;
  bitrateKbps?: number;
  fps?: number;
  /** Share of packets lost in the last second, 0 to 1. */
  loss?: number;
  rttMs?: number;
  path?: 'host' | 'srflx' | 'prflx' | 'relay';
  protocol?: 'udp' | 'tcp';
  encoder?: string;
  width?: number;
  height?: number;
  framesDecoded?: number;
  framesDropped?: number;
  /** Of the sound alone. */
  audioKbps?: number;
  /** As `loss`, of the sound's packets. */
  audioLoss?: number;
  /** How long sound waited to be played, on average of the last second. */
  audioDelayMs?: number;
  /** How loud it is at the device's microphone, in dB below full scale. */
  audioLevelDb?: number;
}

/** Talking to the device's loudspeaker, as it stands. */
export interface Talking {
  state: 'off' | 'starting' | 'on';
  /** Whether there is a loudspeaker, the right to talk, and a way for it now. */
  can: boolean;
  /** Somebody else is speaking. */
  busy: boolean;
  /** Why it did not begin, or ended by itself; until the next time. */
  trouble?: Reply;
}

export interface Camera {
  readonly video: HTMLVideoElement;
  /** The person-readable name, or the device's id. */
  readonly name: string;
  readonly info: Info;
  readonly device: DeviceState;
  /** Unknown until the device has said it on the data channel. */
  readonly rights: ReadonlySet<Right> | undefined;
  /** Whether requests can be sent now. */
  readonly canAsk: boolean;
  /** What is shown in words now. */
  say(): Say;
  /** `set/<name>`; the promise is always kept, within ten seconds. */
  set(name: string, value: unknown): Promise<Reply>;
  /** `do/<action>`. */
  do(action: string, fields?: Record<string, unknown>): Promise<Reply>;
  readonly talking: Talking;
  /** Begins or ends talking; the promise is always kept, with what became of it. */
  talk(on: boolean): Promise<Reply>;
  /** The picture that is on the screen, as JPEG or PNG; undefined while there is none. */
  snapshot(type?: 'image/jpeg' | 'image/png'): Promise<Blob | undefined>;
  /** The last minute, oldest first, at most 60. */
  readonly samples: readonly Sample[];
  /** Called after each change of anything above; returns how to end it. */
  subscribe(listener: () => void): () => void;
}
