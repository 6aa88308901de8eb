// Types of <porthole-camera>. Importing the module defines the element.

/** A right of a grant. */
export type Right = 'view' | 'control' | 'snapshot' | 'talk';

/** What the device answered to a request. */
export interface Reply {
  ok: boolean;
  /** A code as in the protocol (`forbidden`, `not-connected`, …), or words. */
  error?: string;
  message?: string;
}

/** `talking` of the element, and `detail` of its `talk` event. */
export interface Talking {
  state: 'off' | 'starting' | 'on';
  /** Whether there is a loudspeaker, the right to talk, and a way for it now. */
  can: boolean;
  /** Somebody else is speaking. */
  busy: boolean;
  /** Why it did not begin, or ended by itself; until the next time. */
  trouble?: Reply;
}

export type Phase =
  | 'starting' | 'setup' | 'network-lost' | 'broker-connecting' | 'broker-waiting' | 'device-offline' | 'calling'
  | 'opening' | 'live' | 'stalled' | 'tap-to-play' | 'waiting' | 'paused' | 'refused' | 'left' | 'pictures';

/** `state` of the element, and `detail` of its `state` event. */
export interface CameraState {
  phase: Phase;
  /** What is said over the picture. */
  text: string;
  /** What happens next, or what to do. */
  hint: string;
  /** The code behind it. */
  code?: string;
  /** Until the next attempt. */
  seconds?: number;
  /** Whether trying again is offered. */
  retry: boolean;
  attempt: number;
  device: string | undefined;
  name: string;
  viewer: string | undefined;
  session: string | undefined;
  brokerConnected: boolean;
}

/** `detail` of the `error` event. */
export interface CameraTrouble {
  code: string;
  text: string;
  hint: string;
}

/** `detail` of the `camera` event: `info` and `device` as the protocol's `info` and `state` say them, read and checked. */
export interface CameraNews {
  name: string;
  info: Readonly<Record<string, unknown>>;
  device: Readonly<Record<string, unknown>>;
  rights: ReadonlySet<Right> | undefined;
  canAsk: boolean;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

export interface PortholeCameraEventMap extends HTMLElementEventMap {
  state: CustomEvent<CameraState>;
  camera: CustomEvent<CameraNews>;
  talk: CustomEvent<Talking>;
  volumechange: CustomEvent<null>;
}

export class PortholeCamera extends HTMLElement {
  broker: string | null;
  device: string | null;
  root: string | null;
  key: string | null;
  grant: string | null;
  secret: string | null;
  name: string | null;
  link: string | null;
  whep: string | null;
  token: string | null;
  controls: boolean;
  /** Whether nothing is heard now; the attribute is what it begins with. */
  muted: boolean;
  /** 0 to 1, now; the attribute is what it begins with. */
  volume: number;
  iceServers: IceServer[] | undefined;
  readonly state: CameraState;
  readonly video: HTMLVideoElement;
  readonly talking: Talking;
  /** Goes on after `pause()`, or starts what the browser does not start without a gesture. */
  play(): Promise<void>;
  /** Hangs up and says so, until `play()`. */
  pause(): void;
  /** Tries again now instead of later. */
  retry(): void;
  /** The picture that is on the screen; undefined while there is none. */
  snapshot(type?: 'image/jpeg' | 'image/png'): Promise<Blob | undefined>;
  /** `set/<name>` of the protocol; kept within ten seconds. */
  set(name: string, value: unknown): Promise<Reply>;
  /** `do/<action>` of the protocol. */
  do(action: string, fields?: Record<string, unknown>): Promise<Reply>;
  /** Begins or ends talking to the device's loudspeaker; kept when somebody is heard, or with why not. */
  talk(on: boolean): Promise<Reply>;
  /** Figures of the running picture, flat and named as in WebRTC's statistics. */
  stats(): Promise<Record<string, number | string>>;
  addEventListener<Type extends keyof PortholeCameraEventMap>(
    type: Type, listener: (this: PortholeCamera, event: PortholeCameraEventMap[Type]) => unknown, options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'porthole-camera': PortholeCamera;
  }
}
