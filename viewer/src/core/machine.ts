// Decides everything and does nothing: events go in with the time, actions come out. No clock, no socket, no DOM.
// One session id lasts as long as the page (the MQTT will names it); every attempt is a new offer within it.

import { Calls } from './call.ts';
import { initialState, type Action, type BrokerTrouble, type Event, type Judge, type State } from './state.ts';
import * as timing from './timing.ts';

export class Machine {
  readonly state: State = initialState();
  private readonly calls: Calls;
  private actions: Action[] = [];
  private now = 0;
  private brokerFailures = 0;
  /** The network changed under the broker connection, so it may be dead without knowing it. */
  private doubtBroker = false;

  constructor(
    session: string,
    judge: Judge,
    private readonly rand: () => number = Math.random,
  ) {
    this.calls = new Calls(this.state, session, judge, rand, (action) => this.actions.push(action));
  }

  on(event: Event, now: number): Action[] {
    this.now = this.calls.now = now;
    this.actions = [];
    const wasLive = this.state.call.at === 'live';
    this.handle(event);
    if (this.state.call.at !== 'idle') this.keepTime();
    this.settleDoubt(wasLive);
    return this.actions;
  }

  private handle(event: Event): void {
    const { state, calls } = this;
    // A tab may be opened in the background, before anything has started.
    if (event.type === 'hidden') return this.onHidden(event.hidden);
    const stale = 'attempt' in event && event.attempt !== state.attempt.id;
    if (stale || (state.call.at === 'idle' && event.type !== 'start')) return;
    switch (event.type) {
      case 'start':
        this.connectBroker();
        return calls.start();
      case 'tick':
        return;
      case 'broker-open':
        return this.onBrokerOpen();
      case 'broker-closed':
        return this.onBrokerClosed(event.why);
      case 'presence':
        return this.onPresence(event.presence);
      case 'device':
        return this.onDevice(event.state);
      case 'signal':
        return calls.onSignal(event.message);
      case 'peer-ready':
        return calls.onPeerReady();
      case 'peer-changing':
        return calls.onPeerChanging();
      case 'peer-outgrown':
        return calls.onPeerOutgrown();
      case 'peer-broken':
        return calls.fail(event.code);
      case 'local-candidate':
        return calls.onLocalCandidate(event.candidate);
      case 'ice':
        return calls.onIce(event.state);
      case 'frames':
        return calls.onFrames(event.count);
      case 'play':
        state.playRefused = event.refused;
        return;
      case 'wake':
        this.onHidden(false);
        return this.checkAtOnce(event.asleepMs > timing.SLEPT_MS);
      case 'network':
        state.networkUp = event.up;
        if (event.up) this.checkAtOnce(true);
        return;
      case 'network-changed':
        return this.checkAtOnce(true);
      case 'retry':
        return this.onRetry();
      case 'leave':
        calls.hangUp('left');
        this.actions.push({ do: 'close-peer' });
        state.call = { at: 'idle' };
        return;
    }
  }

  private onHidden(hidden: boolean): void {
    const { state } = this;
    state.hidden = hidden;
    if (!hidden) delete state.hiddenSince;
    else state.hiddenSince ??= this.now;
  }

  private connectBroker(): void {
    this.doubtBroker = false;
    this.state.broker = { at: 'connecting', since: this.now };
    this.actions.push({ do: 'connect-broker' });
  }

  private onBrokerOpen(): void {
    const { state, calls } = this;
    state.broker = { at: 'open', since: this.now };
    // Signals were lost, and the broker may have published our will: an unfinished attempt starts over.
    if (state.call.at === 'offered' || state.call.at === 'answered') calls.start();
    else if (state.call.at === 'live') calls.demandProof();
    else calls.offerIfPossible();
  }

  private onBrokerClosed(why: BrokerTrouble): void {
    const { broker } = this.state;
    if (broker.at === 'waiting') return;
    const wasGood = broker.at === 'open' && this.now - broker.since >= timing.STABLE_MS;
    this.brokerFailures = wasGood ? 0 : this.brokerFailures + 1;
    const pause = timing.backoffMs(this.brokerFailures, this.rand());
    const refused = why === 'refused' || why === 'ended' || why === 'not-allowed';
    const until = this.now + (refused ? Math.max(pause, timing.REFUSED_MS) : pause);
    this.state.broker = { at: 'waiting', until, why };
    if (why === 'lost') this.calls.onBrokerLost();
  }

  private onPresence(presence: State['presence']): void {
    const { state, calls } = this;
    const before = state.presence;
    state.presence = presence;
    const { at } = state.call;
    if (presence === 'offline') {
      // Keep an offer at hand, so that it goes out the moment the device is back.
      if (at === 'offered' || at === 'answered' || at === 'waiting') calls.start();
    } else if (presence === 'online' && before === 'offline') {
      calls.failures = 0;
      delete state.lastWhy;
      if (at === 'live') calls.demandProof();
      else calls.offerIfPossible();
    }
  }

  private onDevice(device: State['device']): void {
    const { call, device: before } = this.state;
    this.state.device = device;
    if (call.at !== 'waiting') return;
    if (call.why.code === 'privacy' && device.streaming === true && before.streaming !== true) {
      delete this.state.lastWhy;
      this.calls.start();
      return;
    }
    const cameraBack = device.camera === 'idle' || device.camera === 'live';
    // Sooner, but not at once: a camera that fails to start also says "idle" in between.
    if (call.why.code === 'camera-unavailable' && cameraBack) call.until = Math.min(call.until, call.since + 5_000);
  }

  private onRetry(): void {
    const { broker, call } = this.state;
    this.brokerFailures = this.calls.failures = 0;
    if (broker.at === 'waiting') this.connectBroker();
    if (call.at === 'waiting' || call.at === 'final') this.calls.start();
  }

  /** After sleep or a change of network: what can be dead is checked now instead of waited for. */
  private checkAtOnce(doubtBroker: boolean): void {
    const { broker, call } = this.state;
    const connectingLong = broker.at === 'connecting' && this.now - broker.since > 2_000;
    const doubtful = broker.at === 'open' && doubtBroker && call.at !== 'live';
    if (broker.at === 'waiting' || connectingLong || doubtful) this.connectBroker();
    switch (call.at) {
      case 'live':
        this.doubtBroker ||= doubtBroker;
        return this.calls.demandProof();
      case 'waiting':
        // A pause that the device asked for is kept.
        if (!timing.isAskedFor(call.why.code)) this.calls.start();
        return;
      case 'paused':
        if (!this.state.hidden) this.calls.start();
        return;
      case 'ready':
      case 'offered':
      case 'answered':
        if (doubtBroker) this.calls.start();
        return;
    }
  }

  private keepTime(): void {
    const { broker } = this.state;
    if (broker.at === 'waiting' && this.now >= broker.until) this.connectBroker();
    if (broker.at === 'connecting' && this.now - broker.since >= timing.BROKER_OPEN_MS) {
      this.actions.push({ do: 'close-broker' });
      this.onBrokerClosed('unreachable');
    }
    this.calls.keepTime();
  }

  /** A picture that goes on proves the network well enough; one that ended makes a doubtful broker connection worth renewing. */
  private settleDoubt(wasLive: boolean): void {
    const { broker, call } = this.state;
    if (call.at === 'live' && call.proveBy === undefined) this.doubtBroker = false;
    if (wasLive && call.at === 'preparing' && this.doubtBroker && broker.at === 'open') this.connectBroker();
  }
}
