// Which sentence is said: what happened, and either what happens next by itself or what the person can do.
// The sentences themselves are in texts/.

import { isDamage, type Flaw } from './link.ts';
import type { State, Why } from './state.ts';
import { STALLED_MS } from './timing.ts';
import { en, type Sentence, type Texts } from '../texts/en.ts';

export type Phase =
  | 'starting' | 'setup' | 'network-lost' | 'broker-connecting' | 'broker-waiting' | 'device-offline' | 'calling'
  | 'opening' | 'live' | 'pictures' | 'stalled' | 'tap-to-play' | 'waiting' | 'paused' | 'refused' | 'left';

export interface Say {
  phase: Phase;
  /** The sentence, stable while nothing changes, so that a screen reader says it once. */
  text: string;
  /** What happens next or what to do. */
  hint: string;
  /** Counts down to the next attempt. */
  seconds?: number;
  /** Offer a "Try again" button. */
  retry: boolean;
  /** The code behind it, for automation and for a bug report. */
  code?: string;
}

/** What the sentences name. */
export interface Names {
  camera: string;
  broker: string;
  /** The broker is another host than the one the page came from; browsers guard the way into a local network. */
  brokerIsElsewhere?: boolean;
  /** The broker is the camera's own, so it tells an expired link from a withdrawn one. */
  brokerIsOwn?: boolean;
  /** There is no broker: it is the camera itself that is asked, at that address. */
  brokerIsCamera?: boolean;
  /** The link carries a grant, so a refusal is about that grant. */
  hasGrant?: boolean;
  /** … and it is also what the page logs in to the broker with. */
  loginIsGrant?: boolean;
  /** The page has something to log in to the broker with. */
  hasLogin?: boolean;
}

export function say(state: State, names: Names, now: number, texts: Texts = en): Say {
  const { call, broker, presence } = state;
  const t = texts.words;
  const { camera } = names;
  if (call.at === 'idle') return plainly('starting', t.starting, '');
  if (call.at === 'final') return { ...plainly('refused', ...refusal(call.why, names, texts)), retry: true, code: call.why.code };
  if (call.at === 'paused') return plainly('paused', ...t.paused);
  if (call.at === 'live') return sayLive(state, names, now, texts);
  if (call.at === 'answered') {
    if (state.playRefused) return plainly('tap-to-play', ...t.tapToPlay(camera));
    if (state.lastWhy) return again('opening', state.lastWhy, names, texts);
    return plainly('opening', t.opening(camera), '');
  }
  if (!state.networkUp) return plainly('network-lost', ...t.networkLost);
  if (broker.at === 'connecting') {
    return plainly('broker-connecting', state.hadPicture ? t.reconnectingBroker : t.connectingBroker, names.broker);
  }
  if (broker.at === 'waiting') {
    // Brokers of others give the code of an expired link to whomever they do not let in.
    const why = broker.why === 'ended' && !(names.loginIsGrant && names.brokerIsOwn) ? 'refused' : broker.why;
    const [text, hint] = brokerTrouble(why, names, texts);
    return { ...plainly('broker-waiting', text, hint), seconds: until(broker.until, now), retry: true, code: `broker-${why}` };
  }
  if (presence === 'offline') {
    const since = state.device.timeMs === undefined ? '' : when(state.device.timeMs, Date.now(), texts);
    return plainly('device-offline', ...t.offline(camera, since));
  }
  if (call.at === 'waiting') {
    // An `expired` that waits instead of being final is the device's clock (`timing.isClockTrouble`).
    const why = call.why.code === 'expired' ? { ...call.why, code: 'clock' } : call.why;
    const waiting = plainly('waiting', ...refusal(why, names, texts));
    return { ...waiting, seconds: until(call.until, now), retry: true, code: call.why.code };
  }
  if (state.lastWhy) return again('calling', state.lastWhy, names, texts);
  return plainly('calling', (state.hadPicture ? t.reconnecting : t.waitingFor)(camera), '');
}

/** What was wrong stays to be read while another attempt is on its way: it is still the best that is known. */
function again(phase: Phase, lastWhy: Why, names: Names, texts: Texts): Say {
  const why = lastWhy.code === 'expired' ? { ...lastWhy, code: 'clock' } : lastWhy;
  return { ...plainly(phase, ...refusal(why, names, texts)), seconds: 0, code: lastWhy.code };
}

function sayLive(state: State, names: Names, now: number, texts: Texts): Say {
  const { call, broker, presence } = state;
  const t = texts.words;
  if (state.playRefused) return plainly('tap-to-play', ...t.tapToPlay(names.camera));
  if (call.at === 'live' && !state.hidden && now - call.frameAt >= STALLED_MS) {
    return { ...plainly('stalled', ...t.stalled), code: 'stalled' };
  }
  let note = '';
  if (broker.at !== 'open') note = t.brokerGone;
  else if (presence === 'offline') note = t.deviceBrokerGone(names.camera);
  return plainly('live', t.live, note);
}

type Reason = keyof Texts['words']['why'];
/** Codes that mean the same to people as another one, which has the words. */
const SAME = new Map<string, Reason>([
  ['stalled', 'connection-lost'], ['no-session', 'bye'], ['too-large', 'bad-message'], ['bad-offer', 'bad-message'], ['bad-answer', 'no-offer'],
]);

function refusal(why: Why, names: Names, { words }: Texts): Sentence {
  const message = why.message && forViewers(why.message);
  let said = message ? words.says(ended(message)) : '';
  if (why.code === 'unauthorized' && !names.hasGrant) return words.uninvited(names.camera, words.linkWithoutInvitation);
  const code = SAME.get(why.code) ?? (Object.prototype.hasOwnProperty.call(words.why, why.code) ? (why.code as Reason) : 'internal');
  if (code === 'bye' && (!why.message || why.message === 'bye')) said = '';
  return words.why[code](names.camera, said, names.broker);
}

/** Without what only the owner can do: the part with a key of the configuration (`camera.device`), and what follows it. */
export function forViewers(message: string): string {
  const parts = message.split('; ');
  const first = parts.findIndex((part) => /\b[a-z]+\.[a-z]\w*( =|\b)/.test(part.replace(/\S*\/\S*/g, '')));
  return (first < 0 ? parts : parts.slice(0, first)).join('; ');
}

export const sayStarting = (texts: Texts): Say => plainly('starting', texts.words.starting, '');

/** The person has hung up. */
export const sayByHand = (texts: Texts): Say => ({ ...plainly('paused', ...texts.element.paused), code: 'by-hand' });

/** A page that was opened by its bare address, of a camera that lets in only who was invited. */
export function sayUninvited(camera: string, texts: Texts = en): Say {
  return { ...plainly('refused', ...texts.words.uninvited(camera, '')), code: 'no-invitation' };
}

function brokerTrouble(why: string, names: Names, texts: Texts): Sentence {
  const t = texts.words.broker;
  switch (why) {
    case 'not-yet':
      return names.loginIsGrant && !names.brokerIsElsewhere ? t.clock() : t.notReady(names.broker);
    case 'ended':
      return t.ended();
    case 'refused':
      if (names.loginIsGrant) return names.brokerIsOwn ? t.withdrawn() : t.linkRefused(names.broker);
      return (names.hasLogin ? t.password : t.nobody)(names.broker);
    case 'not-allowed':
      return t.notAllowed(names.broker);
    case 'lost':
      return t.lost(names.broker);
    default:
      return (names.brokerIsCamera ? t.cameraUnreachable : t.unreachable)(names.broker, names.brokerIsElsewhere ?? false);
  }
}

export const flawWords = (flaw: Flaw, texts: Texts = en): string => texts.words.flaw[flaw];

/** A link that cannot be used: a form for what is missing, or, for one that was damaged on its way, what to do. */
export function sayFlaws(flaws: Flaw[], texts: Texts = en): Say {
  const damage = flaws.filter(isDamage);
  const words = (of: Flaw[]): string => of.map((flaw) => flawWords(flaw, texts)).join(' ');
  if (damage.length > 0) return { ...plainly('refused', ...texts.words.damaged(words(damage))), code: damage.join(' ') };
  return { ...plainly('setup', ...texts.words.incomplete(words(flaws))), code: flaws.join(' ') };
}

/** "at 14:05" today, "on 3 November at 14:05" before; in the reader's time zone. */
export function when(ms: number, now = Date.now(), { locale, words }: Texts = en): string {
  const then = new Date(ms);
  const time = then.toLocaleTimeString(locale, { hour: '2-digit', minute: '2-digit' });
  if (then.toDateString() === new Date(now).toDateString()) return words.at(time);
  return words.onDayAt(then.toLocaleDateString(locale, { day: 'numeric', month: 'long' }), time);
}

function plainly(phase: Phase, text: string, hint: string): Say {
  return { phase, text, hint, retry: false };
}

const until = (then: number, now: number): number => Math.max(0, Math.ceil((then - now) / 1_000));

const ended = (sentence: string): string => (/[.!?…]$/.test(sentence) ? sentence : `${sentence}.`);
