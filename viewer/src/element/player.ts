// Joins the machine to its edges for one <video>: the clock, the broker connection and the peer connection.
// It knows nothing of the page around the video, so that another host (a custom element) can use it as it is.

import { Access, toBase64Url } from '../core/access.ts';
import { Broker } from '../net/broker.ts';
import type { IceServer, Link } from '../core/link.ts';
import { Machine } from '../core/machine.ts';
import { hasWebRtc, Peer, type Figures } from '../net/peer.ts';
import { parseDown } from '../core/signal.ts';
import type { Action, Event } from '../core/state.ts';
import { parseInfo, parsePresence, parseState } from '../core/status.ts';
import { turnHere, type Turn } from '../core/turn.ts';
import { say, type Say } from '../core/words.ts';

const BEAT_MS = 250;

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
  name: string;
  private readonly access: Access;
  private readonly machine: Machine;
  private broker: Broker | undefined;
  private peer: Peer | undefined;
  private iceServers: IceServer[];
  /** The URL of the camera's own broker, where that is known. */
  ownBroker: string | undefined;
  /** From the camera to the screen, of the picture shown last. */
  glassToGlassMs: number | undefined;
  private beating = false;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly link: Link,
    private readonly video: HTMLVideoElement,
    private readonly onChange: () => void,
  ) {
    // A fresh id for each page load: a duplicated tab would copy a stored one, and two clients with one id throw
    // each other off the broker for ever. Nothing outlives the page that would need the id again.
    this.viewer = link.viewer ?? `web-${randomId()}`;
    this.access = new Access(link, this.viewer, this.session, randomBytes);
    this.machine = new Machine(this.session, (answer) => this.access.judge(answer));
    this.name = link.name ?? link.device;
    this.iceServers = link.iceServers;
    // A live picture is never paused: a media key or a locked phone would leave a still that looks live.
    video.addEventListener('pause', () => this.unpause());
  }

  start(): void {
    this.hear({ type: 'hidden', hidden: document.hidden });
    this.hear({ type: 'start' });
    this.timer = setInterval(() => void this.beat(), BEAT_MS);
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

  say(): Say {
    const { host, hostname } = new URL(this.link.url);
    const names = {
      camera: this.name,
      broker: host,
      brokerIsElsewhere: hostname !== location.hostname,
      brokerIsOwn: this.ownBroker !== undefined && new URL(this.ownBroker).host === host,
      hasGrant: this.link.grant !== undefined,
      hasLogin: this.link.username !== undefined || this.link.grant !== undefined,
      loginIsGrant: this.link.username === undefined && this.link.grant !== undefined,
    };
    return say(this.machine.state, names, performance.now());
  }

  async stats(): Promise<Figures> {
    const delay = this.glassToGlassMs;
    return { framesDecoded: 0, ...(await this.peer?.figures()), ...(delay !== undefined && { glassToGlassMs: delay }) };
  }

  hear(event: Event): void {
    for (const action of this.machine.on(event, performance.now())) this.act(action);
    this.onChange();
  }

  async play(): Promise<void> {
    try {
      await this.video.play();
      this.hear({ type: 'play', refused: false });
    } catch (error) {
      // Anything else (a new picture came in between) is followed by another play().
      if ((error as DOMException).name === 'NotAllowedError') this.hear({ type: 'play', refused: true });
    }
  }

  wake(asleepMs: number): void {
    this.hear({ type: 'wake', asleepMs });
    this.unpause();
  }

  leave(): void {
    clearInterval(this.timer);
    this.hear({ type: 'leave' });
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
    } finally {
      this.beating = false;
      this.hear({ type: 'tick' });
    }
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
        this.broker?.close();
        return;
      case 'probe-broker':
        this.broker?.probe();
        return;
      case 'make-peer':
        return this.makePeer(action.attempt);
      case 'close-peer':
        this.peer?.close();
        this.peer = undefined;
        return;
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
        if (action.message.type === 'bye' && action.message.reason === 'left') this.broker?.sendLast(action.message);
        else this.broker?.send(action.message);
        return;
    }
  }

  private connectBroker(): void {
    this.broker?.close();
    const broker = new Broker(this.link, this.viewer, this.session, {
      open: () => {
        this.timings.brokerConnected = performance.now();
        this.hear({ type: 'broker-open' });
      },
      closed: (why) => this.hear({ type: 'broker-closed', why }),
      message: (topic, payload) => this.onMessage(topic, payload),
    });
    this.broker = broker;
  }

  private onMessage(topic: string, payload: string): void {
    switch (topic) {
      case 'availability':
        return this.hear({ type: 'presence', presence: parsePresence(payload) });
      case 'state':
        return this.hear({ type: 'device', state: parseState(payload) });
      case 'info':
        this.name = parseInfo(payload).name ?? this.name;
        return this.onChange();
      default: {
        const message = parseDown(payload);
        if (message) this.hear({ type: 'signal', message });
      }
    }
  }

  private makePeer(attempt: number): void {
    this.peer?.close();
    this.peer = undefined;
    const { timings } = this;
    delete timings.offerPublished;
    delete timings.answerReceived;
    delete timings.firstTrack;
    delete timings.firstFrame;
    if (!hasWebRtc()) {
      queueMicrotask(() => this.hear({ type: 'peer-broken', attempt, code: 'no-webrtc' }));
      return;
    }
    this.peer = new Peer(attempt, this.iceServers, (event) => this.hear(event), (stream) => this.show(stream, attempt));
    void this.peer.prepare();
  }

  private publishOffer(): void {
    const { peer, broker, session } = this;
    if (!peer || !broker) return;
    const { sdp, gathered } = peer.takeOffer();
    const auth = this.access.sign(sdp);
    broker.send({ type: 'offer', session, sdp, ...(auth && { auth }) });
    if (gathered) broker.send({ type: 'candidate', session, candidate: null });
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

/** Not `crypto.subtle`: this is there on every page. */
const randomBytes = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

const randomId = (): string => toBase64Url(randomBytes(12));
