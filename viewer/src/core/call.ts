// One call after another, within one session: offer, answer, candidates, picture, and what to do when it fails.
// Pure like `machine.ts`, of which it is the half that talks to the device.

import { belongsTo, ufragOf, type Answer, type Candidate, type Down } from './signal.ts';
import type { Action, Judge, State } from './state.ts';
import * as timing from './timing.ts';

/** Complaints about a single message; they end an offer, but not a call that the device has already answered. */
const ABOUT_A_MESSAGE = new Set(['bad-message', 'too-large', 'rate-limited']);

/** Why an answer is not taken, in words that `words.ts` knows. */
const REFUSALS = { unsigned: 'answer-unsigned', changed: 'answer-changed', 'other-device': 'other-device' } as const;

export class Calls {
  now = 0;
  failures = 0;

  constructor(
    private readonly state: State,
    private readonly session: string,
    private readonly judge: Judge,
    private readonly rand: () => number,
    private readonly act: (action: Action) => void,
  ) {}

  start(): void {
    const { state } = this;
    state.attempt = { id: state.attempt.id + 1, early: [], connected: false };
    state.call = { at: 'preparing', since: this.now };
    this.act({ do: 'make-peer', attempt: state.attempt.id });
  }

  onPeerReady(): void {
    if (this.state.call.at === 'preparing') this.state.call = { at: 'ready', since: this.now };
    this.offerIfPossible();
  }

  onPeerChanging(): void {
    if (this.state.call.at === 'ready') this.state.call = { at: 'preparing', since: this.now };
  }

  /** A new offer in place of the one that is out, or of the call that came of it. */
  onPeerOutgrown(): void {
    if (this.isOut()) this.start();
  }

  /** An unknown presence does not hold an offer back; only a device that says it is offline does. */
  offerIfPossible(): void {
    const { call, broker, presence, attempt } = this.state;
    if (call.at !== 'ready' || broker.at !== 'open' || presence === 'offline') return;
    if (this.now - call.since > timing.OFFER_FRESH_MS) return this.start();
    this.state.call = { at: 'offered', since: this.now };
    this.act({ do: 'publish-offer', attempt: attempt.id });
  }

  onSignal(message: Down): void {
    if (message.session !== this.session && !(message.type === 'error' && message.session === undefined)) return;
    switch (message.type) {
      case 'answer':
        return this.onAnswer(message);
      case 'candidate':
        return this.onCandidate(message.candidate);
      case 'bye':
        return this.onBye(message.reason);
      case 'error':
        return this.onError(message.code, message.message, message.retryAfterS);
    }
  }

  private onAnswer(answer: Answer): void {
    const { call, attempt } = this.state;
    // Two different answers to one offer: the first belonged to the attempt before, so this one cannot work.
    if (call.at === 'answered' && attempt.answer !== answer.sdp && !attempt.verified) return this.start();
    if (call.at !== 'offered') return;
    const trust = this.judge(answer);
    if (trust === 'stale') return; // late, or replayed: the answer to this offer may still come
    if (trust !== 'verified' && trust !== 'unchecked') {
      const code = REFUSALS[trust];
      this.hangUp(code);
      return this.refuse(code);
    }
    attempt.verified = trust === 'verified';
    attempt.answer = answer.sdp;
    const ufrag = ufragOf(answer.sdp);
    if (ufrag !== undefined) attempt.ufrag = ufrag;
    this.state.call = { at: 'answered', since: this.now };
    const apply: Action = { do: 'apply-answer', attempt: attempt.id, sdp: answer.sdp };
    if (answer.iceServers) apply.iceServers = answer.iceServers;
    this.act(apply);
    for (const candidate of attempt.early.splice(0)) this.onCandidate(candidate);
  }

  private onCandidate(candidate: Candidate | null): void {
    const { attempt, call } = this.state;
    if (call.at === 'offered') {
      if (attempt.early.length < timing.EARLY_CANDIDATES) attempt.early.push(candidate);
    } else if (attempt.answer !== undefined && belongsTo(candidate, attempt.ufrag)) {
      this.act({ do: 'add-candidate', attempt: attempt.id, candidate });
    }
  }

  private onBye(reason: string | undefined): void {
    const { call } = this.state;
    const known = reason !== undefined && timing.isReason(reason);
    // The end of the media may overtake the words about it.
    const justLost = call.at === 'waiting' && call.why.code === 'connection-lost';
    // While an offer is out, a bye without a known reason is about the attempt before.
    if (call.at === 'live' || call.at === 'answered' || justLost || (call.at === 'offered' && known)) {
      this.refuse(known ? reason : 'bye', reason);
    }
  }

  private onError(code: string, message: string, retryAfterS?: number): void {
    const { call } = this.state;
    if (call.at === 'offered' || (call.at === 'answered' && !ABOUT_A_MESSAGE.has(code))) {
      this.refuse(code, message, retryAfterS);
    } else if (call.at === 'live' && code === 'no-session') {
      this.demandProof();
    }
  }

  onLocalCandidate(candidate: Candidate | null): void {
    if (this.isOut() && this.state.broker.at === 'open') {
      this.act({ do: 'send', message: { type: 'candidate', session: this.session, candidate } });
    }
  }

  onIce(ice: RTCPeerConnectionState): void {
    const { attempt, call } = this.state;
    if (call.at !== 'answered' && call.at !== 'live') return;
    if (ice === 'connected') {
      attempt.connected = true;
      delete attempt.downSince;
    } else if (ice === 'disconnected') {
      // The same may have happened to the broker connection, as when this machine's address has changed.
      if (attempt.downSince === undefined && this.state.broker.at === 'open') this.act({ do: 'probe-broker' });
      attempt.downSince ??= this.now;
    } else if (ice === 'failed' || ice === 'closed') {
      this.fail(attempt.connected ? 'connection-lost' : 'no-path');
    }
  }

  onFrames(count: number): void {
    const { state, now } = this;
    const { call } = state;
    if (call.at === 'answered' && count > 0) {
      state.call = { at: 'live', since: now, frames: count, frameAt: now };
      state.hadPicture = true;
      delete state.lastWhy;
    } else if (call.at === 'live' && count > call.frames) {
      state.call = { at: 'live', since: call.since, frames: count, frameAt: now };
    }
  }

  /** A picture that is alive shows a new frame within `PROOF_MS`; otherwise `keepTime` calls again. */
  demandProof(): void {
    const { call } = this.state;
    if (call.at !== 'live') return;
    call.frameAt = Math.max(call.frameAt, this.now - timing.PROOF_MS);
    call.proveBy ??= this.now + timing.PROOF_MS;
  }

  /** The broker connection has died; a picture that had stopped before it will not go on either. */
  onBrokerLost(): void {
    const { call, hidden, playRefused } = this.state;
    if (call.at !== 'live' || hidden || playRefused) return;
    if (this.now - call.frameAt >= timing.PROOF_MS) this.fail('connection-lost');
  }

  /** Our own verdict on this attempt. After a good picture the first new attempt comes at once. */
  fail(code: string): void {
    const { call } = this.state;
    if (call.at === 'live' && this.now - call.since >= timing.STABLE_MS) {
      this.failures = 0;
      return this.start();
    }
    this.hangUp(code);
    this.refuse(code);
  }

  private refuse(code: string, message?: string, retryAfterS?: number): void {
    const why = message ? { code, message } : { code };
    this.act({ do: 'close-peer' });
    this.failures += 1;
    this.state.lastWhy = why;
    if (code === 'privacy') this.state.device = { ...this.state.device, streaming: false };
    if (timing.isFinal(code) && !timing.isClockTrouble(code, message, retryAfterS)) {
      this.state.call = { at: 'final', why };
      return;
    }
    const pause = timing.pauseMs(code, retryAfterS, this.failures, this.rand());
    this.state.call = { at: 'waiting', since: this.now, until: this.now + pause, why };
  }

  hangUp(reason: string): void {
    if (this.isOut() && this.state.broker.at === 'open') {
      this.act({ do: 'send', message: { type: 'bye', session: this.session, reason } });
    }
  }

  /** Whether the device may hold something for us. */
  private isOut(): boolean {
    const { at } = this.state.call;
    return at === 'offered' || at === 'answered' || at === 'live';
  }

  /** Nobody looks: no picture is fetched, and no camera kept running, for a tab in the background. */
  private pauseIfUnseen(): boolean {
    const { state, now } = this;
    const { at } = state.call;
    const isUnseen = state.hiddenSince !== undefined && now - state.hiddenSince > timing.UNSEEN_MS;
    if (!isUnseen || at === 'idle' || at === 'final' || at === 'paused') return false;
    this.hangUp('hidden');
    this.act({ do: 'close-peer' });
    state.call = { at: 'paused' };
    delete state.lastWhy;
    return true;
  }

  keepTime(): void {
    if (this.pauseIfUnseen()) return;
    const { now } = this;
    const { call, attempt, hidden, playRefused } = this.state;
    switch (call.at) {
      case 'preparing':
        if (now - call.since >= timing.ANSWER_MS) this.fail('no-offer');
        return;
      case 'offered':
        if (now - call.since >= timing.ANSWER_MS) this.fail('no-answer');
        return;
      case 'answered':
        if (playRefused && attempt.connected) return; // some browsers decode nothing until Play is pressed
        if (now - call.since >= timing.PICTURE_MS) this.fail(attempt.connected ? 'no-picture' : 'no-path');
        return;
      case 'waiting':
        if (now >= call.until) this.start();
        return;
      case 'live': {
        if (now - call.since >= timing.STABLE_MS) this.failures = 0;
        const { downSince } = attempt;
        const silentSince = hidden || playRefused ? Infinity : call.frameAt;
        // Silence of the picture and of the broker together is this machine's: its address has changed, most likely.
        if (!call.probed && call.proveBy === undefined && now - silentSince >= timing.PROOF_MS && this.state.broker.at === 'open') {
          call.probed = true;
          this.act({ do: 'probe-broker' });
        }
        const gone = downSince !== undefined && now - Math.min(downSince, silentSince) >= timing.DISCONNECTED_MS;
        const dead = call.proveBy !== undefined && now >= call.proveBy;
        const stalled = !hidden && !playRefused && now - call.frameAt >= timing.REDIAL_STALLED_MS;
        if (gone || dead || stalled) this.fail(stalled ? 'stalled' : 'connection-lost');
        return;
      }
    }
  }
}
