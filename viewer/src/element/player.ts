// Joins the machine to its edges for one <video>: the clock, the broker connection and the peer connection.
// It knows nothing of the page around the video. One player is one session: once it has left there is another one.

import { Access, toBase64Url } from '../core/access.ts';
import type { Reply, Right, Sample, Talking } from '../camera.ts';
import type { IceServer, Link } from '../core/link.ts';
import { Machine } from '../core/machine.ts';
import { sampleOf, withSample, type Figures } from '../core/samples.ts';
import { parseDown } from '../core/signal.ts';
import { lacksSound, soundOffered } from '../core/sound.ts';
import type { Action, Event } from '../core/state.ts';
import { parseInfo, parsePresence, parseState, type DeviceState, type Info } from '../core/status.ts';
import { turnHere, type Turn } from '../core/turn.ts';
import { say, type Say } from '../core/words.ts';
import { Broker, viewerOf } from '../net/broker.ts';
import { Channel, newsOf, NOT_CONNECTED, type Told } from '../net/channel.ts';
import { Microphone } from '../net/microphone.ts';
import { hasWebRtc, Peer } from '../net/peer.ts';
import type { Signaling, SignalingEvents } from '../net/signaling.ts';
import { Whep } from '../net/whep.ts';
import type { Texts } from '../texts/index.ts';
import { Talker } from './talker.ts';

const BEAT_MS = 250;
const SAMPLE_MS = 1_000;

/** `performance.now()` at each step; those after `brokerConnected` are of the latest attempt. */
export interface Timings {
  pageStart: number;
  brokerConnected?: number;
  offerPublished?: number;
  answerReceived?: number;
  firstTrack?: number;
  firstFrame?: number;
}

export class Player {
  readonly viewer: string;
  readonly session = randomId();
  readonly timings: Timings = { pageStart: performance.now() };
  info: Info = {};
  /** What the grant allows, once the device has said it. */
  rights: ReadonlySet<Right> | undefined;
  samples: readonly Sample[] = [];
  private readonly access: Access;
  private readonly machine: Machine;
  private signaling: Signaling | undefined;
  private peer: Peer | undefined;
  private channel: Channel | undefined;
  private told: Told = {};
  private sampled: { figures: Figures; atMs: number } | undefined;
  private readonly gone = new AbortController();
  private iceServers: IceServer[];
  /** The URL of the camera's own broker, where that is known. */
  ownBroker: string | undefined;
  /** From the camera to the screen, of the picture shown last. */
  glassToGlassMs: number | undefined;
  private beating = false;
  private readonly talker = new Talker({
    why: () => this.whySilent(),
    ask: (on) => this.do('talk', { on }),
    send: async (track) => this.peer?.speak(track),
    microphone: new Microphone(),
    changed: () => this.onChange(),
  });
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly link: Link,
    private readonly video: HTMLVideoElement,
    private readonly onChange: () => void,
  ) {
    this.viewer = viewerOf(link);
    this.access = new Access(link, this.viewer, this.session, randomBytes);
    this.machine = new Machine(this.session, (answer) => this.access.judge(answer));
    this.iceServers = link.iceServers;
    // A live picture is never paused: a media key or a locked phone would leave a still that looks live.
    video.addEventListener('pause', () => this.unpause(), { signal: this.gone.signal });
  }

  start(): void {
    this.hear({ type: 'hidden', hidden: document.hidden });
    this.hear({ type: 'start' });
    if (!navigator.onLine) this.hear({ type: 'network', up: false });
    this.timer = setInterval(() => void this.beat(), BEAT_MS);
  }

  /** As the link or the device says it. */
  get name(): string {
    return this.info.name ?? this.link.name ?? this.link.device;
  }

  get deviceId(): string {
    return this.link.device;
  }

  get device(): DeviceState {
    return this.machine.state.device;
  }

  get attempt(): number {
    return this.machine.state.attempt.id;
  }

  get brokerIsOpen(): boolean {
    return this.machine.state.broker.at === 'open';
  }

  /** How the video is to be turned on the page. */
  get turn(): Turn {
    const { attempt, device } = this.machine.state;
    return turnHere(device.turn, attempt.answer);
  }

  say(texts: Texts): Say {
    const { host, hostname } = new URL(this.link.url);
    const names = {
      camera: this.name,
      broker: host,
      brokerIsElsewhere: hostname !== location.hostname,
      brokerIsOwn: this.ownBroker !== undefined && hostOf(this.ownBroker) === host,
      brokerIsCamera: this.link.whep === true,
      hasGrant: this.link.grant !== undefined || this.link.token !== undefined,
      hasLogin: this.link.username !== undefined || this.link.grant !== undefined,
      loginIsGrant: this.link.username === undefined && this.link.grant !== undefined,
    };
    return say(this.machine.state, names, performance.now(), texts);
  }

  async stats(): Promise<Figures> {
    const delay = this.glassToGlassMs;
    return { framesDecoded: 0, ...(await this.peer?.figures()), ...(delay !== undefined && { glassToGlassMs: delay }) };
  }

  /** Whether requests can be sent now. */
  get canAsk(): boolean {
    return this.channel?.isOpen ?? false;
  }

  set(name: string, value: unknown): Promise<Reply> {
    return this.channel?.set(name, value) ?? Promise.resolve(NOT_CONNECTED);
  }

  do(action: string, fields?: Record<string, unknown>): Promise<Reply> {
    return this.channel?.do(action, fields) ?? Promise.resolve(NOT_CONNECTED);
  }

  get talking(): Talking {
    return this.talker.talking;
  }

  talk(on: boolean): Promise<Reply> {
    return this.talker.talk(on);
  }

  /** Why nobody can talk now, as a code. */
  private whySilent(): string | undefined {
    if (!this.canAsk || !this.rights) return 'not-connected';
    if (!this.rights.has('talk')) return 'forbidden';
    return this.peer?.canSpeak ? undefined : 'unsupported';
  }

  hear(event: Event): void {
    if (this.gone.signal.aborted) return;
    if (event.type === 'hidden' && event.hidden) this.talker.end();
    for (const action of this.machine.on(event, performance.now())) this.act(action);
    this.onChange();
  }

  async play(): Promise<void> {
    try {
      await this.video.play();
      this.hear({ type: 'play', refused: false });
    } catch (error) {
      // Anything else (a new picture came in between) is followed by another play().
      if ((error as DOMException).name !== 'NotAllowedError') return;
      if (this.video.muted) return this.hear({ type: 'play', refused: true });
      // With sound it does not start without a gesture: without it then.
      this.video.muted = true;
      await this.play();
    }
  }

  wake(asleepMs: number): void {
    this.hear({ type: 'wake', asleepMs });
    this.unpause();
  }

  /** Hangs up for good. */
  leave(): void {
    clearInterval(this.timer);
    this.talker.close();
    this.hear({ type: 'leave' });
    this.gone.abort();
    this.signaling?.close();
    this.video.srcObject = null;
  }

  private unpause(): void {
    if (this.video.srcObject && this.video.paused && !document.hidden) void this.play();
  }

  /** Frames first, then the clock: in a throttled tab a picture must not be judged by an old count. */
  private async beat(): Promise<void> {
    if (this.beating) return;
    this.beating = true;
    const { peer } = this;
    try {
      const count = await peer?.framesDecoded();
      if (peer && count) this.onFrames(peer.attempt, count);
      if (peer && performance.now() - (this.sampled?.atMs ?? 0) >= SAMPLE_MS) this.sample(await this.stats());
    } finally {
      this.beating = false;
      this.hear({ type: 'tick' });
    }
  }

  private sample(figures: Figures): void {
    const atMs = performance.now();
    const { encoder, audioLevelDb } = this.told;
    const sample = { ...sampleOf(figures, atMs, this.sampled), ...(encoder !== undefined && { encoder }), ...(audioLevelDb !== undefined && { audioLevelDb }) };
    this.samples = withSample(this.samples, sample);
    this.sampled = { figures, atMs };
  }

  private onFrames(attempt: number, count: number): void {
    if (attempt === this.attempt) this.timings.firstFrame ??= performance.now();
    this.hear({ type: 'frames', attempt, count });
  }

  private act(action: Action): void {
    switch (action.do) {
      case 'connect-broker':
        return this.connectBroker();
      case 'close-broker':
        this.signaling?.close();
        return;
      case 'probe-broker':
        this.signaling?.probe();
        return;
      case 'make-peer':
        return this.makePeer(action.attempt);
      case 'close-peer':
        return this.closePeer();
      case 'publish-offer':
        return this.publishOffer();
      case 'apply-answer':
        this.timings.answerReceived = performance.now();
        if (action.iceServers) this.iceServers = action.iceServers; // the next attempt begins with them
        void this.peer?.answer(action.sdp, action.iceServers);
        return;
      case 'add-candidate':
        void this.peer?.add(action.candidate);
        return;
      case 'send':
        if (action.message.type === 'bye' && action.message.reason === 'left') this.signaling?.sendLast(action.message);
        else this.signaling?.send(action.message);
        return;
    }
  }

  private connectBroker(): void {
    this.signaling?.renounce();
    const events: SignalingEvents = {
      open: () => {
        this.timings.brokerConnected = performance.now();
        this.hear({ type: 'broker-open' });
      },
      closed: (why) => this.hear({ type: 'broker-closed', why }),
      message: (topic, payload) => this.onMessage(topic, payload),
    };
    const { link, viewer, session } = this;
    this.signaling = link.whep ? new Whep(link, session, events) : new Broker(link, viewer, session, events);
  }

  private onMessage(topic: string, payload: string): void {
    switch (topic) {
      case 'availability':
        return this.hear({ type: 'presence', presence: parsePresence(payload) });
      case 'state':
        return this.hear({ type: 'device', state: parseState(payload) });
      case 'info':
        this.info = parseInfo(payload);
        this.askForSound();
        return this.onChange();
      default: {
        const message = parseDown(payload);
        if (message) this.hear({ type: 'signal', message });
      }
    }
  }

  private makePeer(attempt: number): void {
    this.closePeer();
    const { timings } = this;
    delete timings.offerPublished;
    delete timings.answerReceived;
    delete timings.firstTrack;
    delete timings.firstFrame;
    if (!hasWebRtc()) {
      queueMicrotask(() => this.hear({ type: 'peer-broken', attempt, code: 'no-webrtc' }));
      return;
    }
    const peer = new Peer(attempt, this.iceServers, (event) => this.hear(event), (stream) => this.show(stream, attempt));
    this.peer = peer;
    void peer.prepare(this.soundWanted()).then(() => {
      if (peer === this.peer && peer.wire) this.openChannel(peer.wire);
    });
  }

  private soundWanted(): ReturnType<typeof soundOffered> {
    return soundOffered(this.info, this.rights, this.link.whep);
  }

  /** What the device has, and allows, is known after the first offer was made, and in time before it is sent. */
  private askForSound(): void {
    const { peer } = this;
    const wanted = this.soundWanted();
    if (!peer || !lacksSound(peer.offered, wanted)) return;
    this.hear({ type: peer.offerMore(wanted) ? 'peer-changing' : 'peer-outgrown', attempt: peer.attempt });
  }

  private closePeer(): void {
    this.channel?.close();
    this.channel = undefined;
    this.told = {};
    this.talker.lost();
    this.peer?.close();
    this.peer = undefined;
    this.sampled = undefined;
  }

  private openChannel(wire: RTCDataChannel): void {
    const learn = (news: Partial<DeviceState>): void => this.hear({ type: 'device', state: { ...this.device, ...news } });
    this.channel = new Channel(wire, {
      changed: () => this.onChange(),
      stats: (told) => {
        this.told = told;
        if (told.rights) this.learnRights(told.rights);
        const news = newsOf(told, this.device);
        if (news) learn(news);
        else this.onChange();
      },
      talk: (news) => this.talker.hear(news),
      camera: learn,
      control: (name, value) => learn({ controls: { ...this.device.controls, [name]: value } }),
    });
  }

  private learnRights(rights: ReadonlySet<Right>): void {
    this.rights = rights;
    if (!rights.has('talk')) this.talker.end('forbidden');
    this.askForSound();
  }

  private publishOffer(): void {
    const { peer, signaling, session } = this;
    if (!peer || !signaling) return;
    const { sdp, gathered } = peer.takeOffer();
    const auth = this.access.sign(sdp);
    signaling.send({ type: 'offer', session, sdp, ...(auth && { auth }) });
    if (gathered) signaling.send({ type: 'candidate', session, candidate: null });
    this.timings.offerPublished = performance.now();
  }

  private show(stream: MediaStream, attempt: number): void {
    const { video } = this;
    this.timings.firstTrack = performance.now();
    video.srcObject = stream;
    this.glassToGlassMs = undefined;
    if (!('requestVideoFrameCallback' in video)) return void this.play();
    let first = true;
    const onShown: VideoFrameRequestCallback = (_now, { rtpTimestamp, expectedDisplayTime }) => {
      if (attempt !== this.attempt) return;
      if (first) this.onFrames(attempt, 1);
      first = false;
      const captured = this.peer?.captured(rtpTimestamp);
      if (captured !== undefined) {
        this.glassToGlassMs = Math.round((performance.timeOrigin + expectedDisplayTime - captured) * 10) / 10;
      }
      video.requestVideoFrameCallback(onShown);
    };
    video.requestVideoFrameCallback(onShown);
    void this.play();
  }
}

/** Undefined for what is no URL. */
function hostOf(url: string): string | undefined {
  try {
    return new URL(url).host;
  } catch {
    return undefined;
  }
}

/** Not `crypto.subtle`: this is there on every page. */
const randomBytes = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

const randomId = (): string => toBase64Url(randomBytes(12));
