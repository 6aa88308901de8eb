// <porthole-camera>: one camera, wherever a page puts it. docs/embedding.md describes it for those who do.

import type { Camera, Reply, Sample, Talking } from '../camera.ts';
import type { IceServer } from '../core/link.ts';
import type { Figures } from '../core/samples.ts';
import type { DeviceState, Info } from '../core/status.ts';
import { sayByHand, sayStarting, type Say } from '../core/words.ts';
import { NOT_CONNECTED } from '../net/channel.ts';
import { textsFor } from '../texts/index.ts';
import { mountBar } from '../ui/bar.ts';
import { watchLife, type LifeEvent } from './life.ts';
import { Player, type Timings } from './player.ts';
import { Screen } from './screen.ts';
import { defineSound, setSound, SOUND, type Sounding } from './sounding.ts';
import { PLACE, sourceOf, type Further, type Place } from './source.ts';
import { stillOf, type StillType } from './still.ts';

/** An element that was taken out of the page is waited for this long: moving one is taking it out and putting it in. */
const MOVED_MS = 5_000;

/** What the `state` event tells, and the property of that name. */
export interface CameraState extends Say {
  attempt: number;
  device: string | undefined;
  name: string;
  viewer: string | undefined;
  session: string | undefined;
  brokerConnected: boolean;
}

export class PortholeCamera extends HTMLElement {
  static readonly observedAttributes = [...PLACE, ...SOUND, 'controls', 'lang'];

  /** For a page that has something else to show: gives what is said instead. */
  interpose: ((say: Say, attempt: number) => Say) | undefined;

  private readonly screen: Screen;
  private player: Player | undefined;
  private isPaused = false;
  /** In the language of the place where the element is. */
  private texts = textsFor();
  private shown: Say = sayStarting(this.texts);
  private told = '';
  private toldCamera: unknown[] = [];
  private toldTalking = SILENT;
  private further: Further = {};
  private leaving: ReturnType<typeof setTimeout> | undefined;
  private isStale = false;
  private unwatch: (() => void) | undefined;
  private bar: ReturnType<typeof mountBar> | undefined;
  private readonly listeners = new Set<() => void>();
  /** The camera as it is watched here: what the bar is given, and the page may use. */
  readonly camera: Camera = this.asCamera();
  private knownOwnBroker: string | undefined;

  constructor() {
    super();
    this.screen = new Screen(this.attachShadow({ mode: 'open' }), this.texts, {
      retry: () => this.retry(),
      play: () => void this.play(),
    });
    this.screen.show(this.shown);
    this.video.addEventListener('volumechange', () => this.tell('volumechange', undefined, false));
  }

  // --- its life in the page ---

  connectedCallback(): void {
    clearTimeout(this.leaving);
    for (const name of [...PLACE, ...SOUND]) this.takeOver(name);
    this.unwatch ??= watchLife((event) => this.onLife(event));
    this.speak();
    this.showBar();
    if (!this.player) this.start();
  }

  /** A property that was set before this module was there hides the one that is meant. */
  private takeOver(name: (typeof PLACE | typeof SOUND)[number]): void {
    if (!Object.prototype.hasOwnProperty.call(this, name)) return;
    const properties = this as Record<string, unknown>;
    const value = properties[name];
    delete properties[name];
    properties[name] = value;
  }

  disconnectedCallback(): void {
    clearTimeout(this.leaving);
    this.leaving = setTimeout(() => {
      this.unwatch?.();
      this.unwatch = undefined;
      this.showBar();
      this.stop();
    }, MOVED_MS);
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (name === 'controls') this.showBar();
    else if (name === 'lang') this.speakAgain();
    else if (name === 'muted' || name === 'volume') setSound(this.video, name, after);
    else if (before !== after) this.startAnew();
  }

  /** Takes the language of its place; gives whether that is another one. */
  private speak(): boolean {
    const texts = textsFor(this);
    if (texts === this.texts) return false;
    this.texts = this.screen.texts = texts;
    this.bar?.unmount();
    this.bar = undefined;
    return true;
  }

  private speakAgain(): void {
    if (!this.isConnected || !this.speak()) return;
    this.showBar();
    // What is wrong with a link is said when it is read.
    if (this.player || this.isPaused) this.update();
    else this.startAnew();
  }

  private showBar(): void {
    const isWanted = this.isConnected && this.hasAttribute('controls');
    if (isWanted) this.bar ??= mountBar(this.screen.bar, this.camera);
    if (isWanted || !this.bar) return;
    this.bar.unmount();
    this.bar = undefined;
  }

  /** At the end of what the page does now: of several attributes that are set one after another only the last counts. */
  private startAnew(): void {
    if (this.isStale || !this.unwatch) return;
    this.isStale = true;
    queueMicrotask(() => {
      this.isStale = false;
      this.stop();
      if (this.isConnected) this.start();
    });
  }

  private start(): void {
    if (this.isPaused) return this.update();
    const place: Place = {};
    for (const name of PLACE) {
      const value = this.getAttribute(name)?.trim();
      if (value !== undefined) place[name] = value;
    }
    const source = sourceOf(place, this.further, location.protocol, document.baseURI, this.texts);
    if (source.link === undefined) {
      this.shown = source.say;
      return this.update();
    }
    const player = new Player(source.link, this.video, () => this.update());
    player.ownBroker = this.knownOwnBroker;
    this.player = player;
    player.start();
  }

  private stop(): void {
    const { player } = this;
    this.player = undefined;
    this.shown = sayStarting(this.texts);
    player?.leave();
  }

  private onLife(event: LifeEvent): void {
    const { player } = this;
    switch (event.type) {
      case 'hidden':
        return player?.hear({ type: 'hidden', hidden: true });
      case 'wake':
        return player?.wake(event.asleepMs);
      case 'leave':
        return this.stop();
      case 'return':
        if (this.isConnected && !this.player) this.start();
        return;
      default:
        return player?.hear(event);
    }
  }

  /** Everything that can be seen or asked has perhaps changed. */
  update(): void {
    const { player, screen } = this;
    const said = this.isPaused ? sayByHand(this.texts) : (player?.say(this.texts) ?? this.shown);
    this.shown = this.interpose?.(said, player?.attempt ?? 0) ?? said;
    screen.show(this.shown);
    screen.showName(this.camera.name, player?.glassToGlassMs);
    screen.turn(player?.turn ?? { rotate: 0, mirror: false });
    const { phase, code, text, hint } = this.shown;
    const words = JSON.stringify([phase, code, text, hint]);
    if (words !== this.told) {
      this.told = words;
      this.tell('state', this.state, true);
      if (code !== undefined && code !== 'by-hand') this.tell('error', { code, text, hint }, false);
    }
    const { name, info, device, rights, canAsk } = this.camera;
    const camera = [name, info, device, rights, canAsk];
    if (camera.some((part, at) => part !== this.toldCamera[at])) {
      this.toldCamera = camera;
      this.tell('camera', { name, info, device, rights, canAsk }, true);
    }
    const { talking } = this.camera;
    if (talking !== this.toldTalking) {
      this.toldTalking = talking;
      this.tell('talk', talking, true);
    }
    for (const listener of [...this.listeners]) listener();
  }

  private tell(type: string, detail: unknown, bubbles: boolean): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles, composed: bubbles }));
  }

  // --- what pages can ask ---

  get video(): HTMLVideoElement {
    return this.screen.video;
  }

  get controls(): boolean {
    return this.hasAttribute('controls');
  }
  set controls(isWanted: boolean) {
    this.toggleAttribute('controls', isWanted);
  }

  get state(): CameraState {
    const { player } = this;
    return {
      ...this.shown,
      attempt: player?.attempt ?? 0,
      device: player?.deviceId ?? this.getAttribute('device') ?? this.further.device,
      name: this.camera.name,
      viewer: player?.viewer,
      session: player?.session,
      brokerConnected: player?.brokerIsOpen ?? false,
    };
  }

  get timings(): Partial<Timings> {
    return this.player?.timings ?? {};
  }

  /** As in `RTCConfiguration`; for gathering before the device has told its own. */
  get iceServers(): IceServer[] | undefined {
    return this.further.iceServers;
  }
  set iceServers(iceServers: IceServer[] | undefined) {
    const { iceServers: _, ...rest } = this.further;
    this.further = iceServers === undefined ? rest : { ...rest, iceServers };
    this.startAnew();
  }

  /** A whole link at once, which the attributes don't show: nobody reads its secret in the markup. */
  set fields(fields: Further) {
    this.further = fields;
    this.startAnew();
  }

  /** The camera's own broker, where the page knows it: what that says of a link is said by the camera. */
  set ownBroker(url: string | undefined) {
    this.knownOwnBroker = url;
    if (this.player) this.player.ownBroker = url;
    this.update();
  }

  /** Goes on after `pause()`, or starts what the browser does not start without a gesture. */
  async play(): Promise<void> {
    if (this.isPaused) {
      this.isPaused = false;
      if (this.isConnected) this.start();
      return;
    }
    await this.player?.play();
  }

  /** Hangs up and says so, until `play()`. */
  pause(): void {
    this.isPaused = true;
    this.stop();
    this.update();
  }

  /** Tries again now instead of later. */
  retry(): void {
    this.player?.hear({ type: 'retry' });
  }

  snapshot(type: StillType = 'image/jpeg'): Promise<Blob | undefined> {
    return stillOf(this.video, type);
  }

  set(name: string, value: unknown): Promise<Reply> {
    return this.player?.set(name, value) ?? Promise.resolve(NOT_CONNECTED);
  }

  do(action: string, fields?: Record<string, unknown>): Promise<Reply> {
    return this.player?.do(action, fields) ?? Promise.resolve(NOT_CONNECTED);
  }

  /** Begins or ends talking to the device's loudspeaker; nobody is heard before the promise says so. */
  talk(on: boolean): Promise<Reply> {
    return this.player?.talk(on === true) ?? Promise.resolve(NOT_CONNECTED);
  }

  get talking(): Talking {
    return this.player?.talking ?? SILENT;
  }

  /** Figures of the running picture, flat and named as in WebRTC's statistics. */
  async stats(): Promise<Figures> {
    return (await this.player?.stats()) ?? { framesDecoded: 0 };
  }

  private asCamera(): Camera {
    const element = this;
    return {
      get video() {
        return element.video;
      },
      get name() {
        return element.player?.name ?? (element.getAttribute('name') || element.further.name || element.getAttribute('device') || element.further.device || 'Camera');
      },
      get info() {
        return element.player?.info ?? NO_INFO;
      },
      get device() {
        return element.player?.device ?? NO_DEVICE;
      },
      get rights() {
        return element.player?.rights;
      },
      get canAsk() {
        return element.player?.canAsk ?? false;
      },
      get samples() {
        return element.player?.samples ?? NO_SAMPLES;
      },
      say: () => this.shown,
      set: (name, value) => this.set(name, value),
      do: (action, fields) => this.do(action, fields),
      get talking() {
        return element.talking;
      },
      talk: (on) => this.talk(on),
      snapshot: (type) => this.snapshot(type),
      subscribe: (listener) => {
        this.listeners.add(listener);
        return () => void this.listeners.delete(listener);
      },
    };
  }
}

const NO_INFO: Info = {};
const NO_DEVICE: DeviceState = {};
const SILENT: Talking = { state: 'off', can: false, busy: false };
const NO_SAMPLES: readonly Sample[] = [];

/** Each attribute of `PLACE` has a property; `null` takes the attribute away. */
export interface PortholeCamera extends Record<(typeof PLACE)[number], string | null>, Sounding {}

defineSound(PortholeCamera.prototype);

for (const name of PLACE) {
  Object.defineProperty(PortholeCamera.prototype, name, {
    configurable: true,
    enumerable: true,
    get(this: PortholeCamera) {
      return this.getAttribute(name);
    },
    set(this: PortholeCamera, value: unknown) {
      if (value === null || value === undefined) this.removeAttribute(name);
      else this.setAttribute(name, String(value));
    },
  });
}
