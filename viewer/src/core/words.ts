// Every sentence the page says. What happened, and either what happens next by itself or what the person can do.

import { isDamage, type Flaw } from './link.ts';
import type { State, Why } from './state.ts';
import { STALLED_MS } from './timing.ts';

export type Phase =
  | 'starting' | 'setup' | 'network-lost' | 'broker-connecting' | 'broker-waiting' | 'device-offline' | 'calling'
  | 'opening' | 'live' | 'stalled' | 'tap-to-play' | 'waiting' | 'paused' | 'refused' | 'left';

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
  /** The link carries a grant, so a refusal is about that grant. */
  hasGrant?: boolean;
  /** … and it is also what the page logs in to the broker with. */
  loginIsGrant?: boolean;
  /** The page has something to log in to the broker with. */
  hasLogin?: boolean;
}

type Sentence = [text: string, hint: string];

export function say(state: State, names: Names, now: number): Say {
  const { call, broker, presence } = state;
  if (call.at === 'idle') return plainly('starting', 'Starting.', '');
  if (call.at === 'final') return { ...plainly('refused', ...refusal(call.why, names)), retry: true, code: call.why.code };
  if (call.at === 'paused') return plainly('paused', 'Paused while this tab is in the background.', 'The picture starts by itself when you come back.');
  if (call.at === 'live') return sayLive(state, names, now);
  if (call.at === 'answered') {
    if (state.playRefused) return tapToPlay(names);
    if (state.lastWhy) return again('opening', state.lastWhy, names);
    return plainly('opening', `${names.camera} answered. Opening the picture…`, '');
  }
  if (!state.networkUp) {
    return plainly('network-lost', 'This device has no network.', 'The picture comes back by itself when the network does.');
  }
  if (broker.at === 'connecting') {
    return plainly('broker-connecting', `${state.hadPicture ? 'Reconnecting' : 'Connecting'} to the message broker…`, names.broker);
  }
  if (broker.at === 'waiting') {
    // Brokers of others give the code of an expired link to whomever they do not let in.
    const why = broker.why === 'ended' && !(names.loginIsGrant && names.brokerIsOwn) ? 'refused' : broker.why;
    const [text, hint] = brokerTrouble(why, names);
    return { ...plainly('broker-waiting', text, hint), seconds: until(broker.until, now), retry: true, code: `broker-${why}` };
  }
  if (presence === 'offline') {
    const since = state.device.timeMs === undefined ? '' : ` It was last heard from ${when(state.device.timeMs)}.`;
    return plainly('device-offline', `${names.camera} is offline.${since}`, 'Check that it has power and network. The picture starts by itself when it is back.');
  }
  if (call.at === 'waiting') {
    // An `expired` that waits instead of being final is the device's clock (`timing.isClockTrouble`).
    const why = call.why.code === 'expired' ? { ...call.why, code: 'clock' } : call.why;
    const waiting = plainly('waiting', ...refusal(why, names));
    return { ...waiting, seconds: until(call.until, now), retry: true, code: call.why.code };
  }
  if (state.lastWhy) return again('calling', state.lastWhy, names);
  if (state.hadPicture) return plainly('calling', `Reconnecting to ${names.camera}…`, '');
  return plainly('calling', `Waiting for ${names.camera}…`, '');
}

/** What was wrong stays to be read while another attempt is on its way: it is still the best that is known. */
function again(phase: Phase, lastWhy: Why, names: Names): Say {
  const why = lastWhy.code === 'expired' ? { ...lastWhy, code: 'clock' } : lastWhy;
  return { ...plainly(phase, ...refusal(why, names)), seconds: 0, code: lastWhy.code };
}

function sayLive(state: State, names: Names, now: number): Say {
  const { call, broker, presence } = state;
  if (state.playRefused) return tapToPlay(names);
  if (call.at === 'live' && !state.hidden && now - call.frameAt >= STALLED_MS) {
    return { ...plainly('stalled', 'The picture has stopped.', 'If it does not go on in a few seconds, the page reconnects by itself.'), code: 'stalled' };
  }
  let note = '';
  if (broker.at !== 'open') note = 'The message broker is out of reach. The picture goes on without it.';
  else if (presence === 'offline') note = `${names.camera} has lost its message broker. The picture goes on without it.`;
  return plainly('live', 'Live', note);
}

function tapToPlay(names: Names): Say {
  return plainly('tap-to-play', `${names.camera} is ready.`, 'Your browser does not start video by itself: press Play.');
}

function refusal(why: Why, names: Names): Sentence {
  const { camera } = names;
  const retries = 'The page tries again by itself.';
  const newLink = 'Ask the owner of the camera for a new link.';
  const message = why.message && forViewers(why.message);
  const said = message ? `The camera says: ${ended(message)} ` : '';
  switch (why.code) {
    case 'no-webrtc':
      return ['This browser cannot show live video (it has no WebRTC).', 'Open this page in a current Chrome, Edge, Safari or Firefox, or switch WebRTC on.'];
    case 'no-h264':
      return ['This browser cannot play H.264 video, which is what the camera sends.', 'Firefox fetches H.264 by itself within minutes of its first start: try again then. Or open this page in Chrome, Edge or Safari.'];
    case 'busy':
      return [`${camera} already has as many viewers as it can serve.`, 'You get in as soon as a place is free; the page keeps asking.'];
    case 'rate-limited':
      return [`${camera} was asked too often in a short time.`, 'The page pauses, then tries again by itself.'];
    case 'privacy':
      return [`${camera} is switched off for privacy.`, 'The picture starts by itself when it is switched on again.'];
    case 'camera-unavailable':
      return [`${camera} is reachable, but its camera gives no picture.`, `${said}Check that the camera is plugged in and not used by another program. ${retries}`];
    case 'unauthorized':
      if (!names.hasGrant) return uninvited(camera, 'The link of this page has no invitation in it; maybe its end was cut off. ');
      return ['This link does not open this camera.', `It may have been withdrawn, or be for another camera. ${newLink}`];
    case 'expired':
      return ['This link has expired.', newLink];
    case 'clock':
      return [`${camera} cannot tell yet whether this link is still valid.`, `${said || 'Its clock is not set. '}That usually takes a minute or two after it was switched on. ${retries}`];
    case 'forbidden':
      return ['This link does not include the right to watch.', newLink];
    case 'answer-unsigned':
      return [`What answered did not prove that it is ${camera}.`, `The proof may have been removed on the way, so no picture is shown: it could be somebody else's. Try again; if it stays like this, tell the owner of the camera and ask for a new link.`];
    case 'answer-changed':
      return [`Someone between you and ${camera} has changed its answer.`, `They could watch with you or show you something else, so no picture is shown. The message broker ${names.broker} is not to be trusted as it is: tell the owner of the camera, and ask for a new link.`];
    case 'other-device':
      return ['The device that answered has another key than this link.', `Either ${camera} was set up anew, or another device answers in its name. No picture is shown. ${newLink}`];
    case 'unsupported-version':
      return [`This page and ${camera} speak different versions.`, 'Reload the page. If that does not help, update the camera\'s software.'];
    case 'no-answer':
      return [`${camera} does not answer.`, `It may be starting, or the link may name the wrong camera. ${retries}`];
    case 'no-path':
      return [`${camera} answered, but no way through the network to it was found.`, `Is this device on the same network, or a VPN or firewall in between? From elsewhere the camera needs a TURN server. ${retries}`];
    case 'no-picture':
      return [`${camera} is connected, but sends no picture.`, retries];
    case 'connection-lost':
    case 'stalled':
      return [`The connection to ${camera} was lost.`, retries];
    case 'bye':
    case 'no-session':
      return [`${camera} ended the session.`, `${why.message && why.message !== 'bye' ? said : ''}${retries}`];
    case 'too-large':
    case 'bad-message':
    case 'bad-offer':
      return [`${camera} did not understand this browser.`, `${said}${retries}`];
    case 'no-offer':
    case 'bad-answer':
      return ['This browser and the camera could not agree on a video connection.', retries];
    default:
      return [`Something went wrong in ${camera}.`, `${said}${retries}`];
  }
}

/** Without what only the owner can do: the part with a key of the configuration (`camera.device`), and what follows it. */
export function forViewers(message: string): string {
  const parts = message.split('; ');
  const first = parts.findIndex((part) => /\b[a-z]+\.[a-z]\w*( =|\b)/.test(part.replace(/\S*\/\S*/g, '')));
  return (first < 0 ? parts : parts.slice(0, first)).join('; ');
}

/** For the owner, who can make a link, and for everybody else, who can ask for one. */
function uninvited(camera: string, why = ''): Sentence {
  return [`${camera} can only be watched with a link from its owner.`, `${why}Ask the owner of the camera for a link. If it is yours, run on it: sudo porthole grant NAME, and open the link that this prints.`];
}

/** A page that was opened by its bare address, of a camera that lets in only who was invited. */
export function sayUninvited(camera: string): Say {
  return { ...plainly('refused', ...uninvited(camera)), code: 'no-invitation' };
}

function brokerTrouble(why: string, names: Names): Sentence {
  const retries = 'The page tries again by itself.';
  switch (why) {
    case 'not-yet':
      if (names.loginIsGrant && !names.brokerIsElsewhere) return ['The camera cannot tell yet whether this link is still good.', `The link has an end, and the camera's clock is not set yet. It works as soon as the camera has reached a time server. ${retries}`];
      return [`The message broker at ${names.broker} is not ready.`, retries];
    case 'ended':
      return ['This link has expired.', 'Ask the owner of the camera for a new one.'];
    case 'refused':
      if (names.loginIsGrant && names.brokerIsOwn) return ['This link does not open this camera.', 'It was withdrawn, or is for another camera: ask the owner of the camera for a new link. The page asks again now and then.'];
      if (names.loginIsGrant) return [`The message broker at ${names.broker} does not accept this link.`, `It may have been withdrawn or have expired: ask the owner of the camera for a new one. The page asks again now and then.`];
      if (!names.hasLogin) return [`The message broker at ${names.broker} refused this page.`, `The link has neither an invitation nor a user name in it; maybe its end was cut off. Ask the owner of the camera for a new link. ${retries}`];
      return [`The message broker at ${names.broker} refused this page.`, `The link's user name or password is wrong. ${retries}`];
    case 'not-allowed':
      return [`The message broker at ${names.broker} does not let this page listen to the camera.`, `Its access rules have to allow it. ${retries}`];
    case 'lost':
      return [`The connection to the message broker at ${names.broker} was lost.`, retries];
    default: {
      const guard = names.brokerIsElsewhere ? ' If the browser asks whether this page may reach your local network, allow it.' : '';
      return [`The message broker at ${names.broker} cannot be reached.`, `Is it running, and is this device on the right network?${guard} ${retries}`];
    }
  }
}

export function flawWords(flaw: Flaw): string {
  switch (flaw) {
    case 'no-broker':
      return 'The address of the MQTT broker is missing.';
    case 'no-device':
      return 'The id of the camera is missing.';
    case 'bad-broker':
      return 'The broker\'s address has to begin with ws:// or wss://, for example ws://192.168.1.10:9001/mqtt.';
    case 'bad-device':
      return 'The camera\'s id may only have letters, digits, - and _, at most 64 of them.';
    case 'bad-viewer':
      return 'The link\'s viewer id may only have letters, digits, - and _, at most 64 of them.';
    case 'bad-root':
      return 'The link\'s root has characters that a topic cannot have.';
    case 'insecure':
      return 'This page came over https, so the browser only allows a broker with wss://, not ws://.';
    case 'bad-key':
      return 'The camera\'s key in it is not whole.';
    case 'bad-grant':
      return 'The name of the invitation in it is not whole or has characters that it cannot have.';
    case 'bad-secret':
      return 'The secret in it is not whole.';
    case 'no-grant':
      return 'It has a secret, but not the name of the invitation that the secret is for.';
    case 'no-secret':
      return 'It names an invitation, but the secret for it is missing: maybe its end was cut off, or it was copied from the address bar, where no secret is.';
    case 'repeated':
      return 'It says the same thing twice; perhaps two links were pasted into one.';
  }
}

/** A link that cannot be used: a form for what is missing, or, for one that was damaged on its way, what to do. */
export function sayFlaws(flaws: Flaw[]): Say {
  const damage = flaws.filter(isDamage);
  if (damage.length > 0) {
    const hint = `${damage.map(flawWords).join(' ')} Copy the whole link again, to its last character, or ask the owner of the camera for a new one.`;
    return { ...plainly('refused', 'This link is damaged.', hint), code: damage.join(' ') };
  }
  const hint = `${flaws.map(flawWords).join(' ')} Open the camera's link again, or fill this in:`;
  return { ...plainly('setup', 'This page does not know yet where the camera is.', hint), code: flaws.join(' ') };
}

/** "at 14:05" today, "on 3 November at 14:05" before; in the reader's time zone. */
export function when(ms: number, now = Date.now()): string {
  const then = new Date(ms);
  const time = then.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  if (then.toDateString() === new Date(now).toDateString()) return `at ${time}`;
  return `on ${then.toLocaleDateString('en-GB', { day: 'numeric', month: 'long' })} at ${time}`;
}

function plainly(phase: Phase, text: string, hint: string): Say {
  return { phase, text, hint, retry: false };
}

const until = (then: number, now: number): number => Math.max(0, Math.ceil((then - now) / 1_000));

const ended = (sentence: string): string => (/[.!?…]$/.test(sentence) ? sentence : `${sentence}.`);
