// Every wait of the viewer in one place. Each is bounded, so the page never gives up and never hammers.

export const ANSWER_MS = 10_000;
/** From the answer to the first picture; the device itself gives up after 15 s. */
export const PICTURE_MS = 12_000;
export const BROKER_OPEN_MS = 10_000;
/** A broker that refuses a login or a topic rarely changes its mind. */
export const REFUSED_MS = 30_000;
/** An ICE connection that says "disconnected" often comes back by itself; counted from the last frame, where frames are seen. */
export const DISCONNECTED_MS = 4_000;
/** A broker answers in a small part of this; a connection whose other end is gone takes messages for half a minute without a word. */
export const BROKER_ANSWER_MS = 2_000;
export const STALLED_MS = 3_000;
export const REDIAL_STALLED_MS = 8_000;
/** How long a picture may take to prove itself alive after sleep or a network change. */
export const PROOF_MS = 1_500;
/** A picture or a broker connection that lasts this long counts as good, and the backoff starts over. */
export const STABLE_MS = 10_000;
/** An offer that waited longer than this is made anew: its candidates may be stale. */
export const OFFER_FRESH_MS = 60_000;
/** Asleep longer than this, the broker has probably dropped the connection without our noticing. */
export const SLEPT_MS = 15_000;
export const EARLY_CANDIDATES = 32;

const SPREAD_MS = 300;
const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/** 1 s, 2 s, 4 s … 30 s, each shifted by up to a quarter so that many viewers do not come back in step; none failed: at once. */
export function backoffMs(failures: number, rand: number): number {
  if (failures <= 0) return Math.round(SPREAD_MS * rand);
  const plain = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10));
  return Math.round(plain * (0.75 + 0.5 * rand));
}

const FINAL = new Set([
  'unauthorized', 'expired', 'forbidden', 'no-h264', 'no-webrtc', 'unsupported-version', 'answer-unsigned', 'answer-changed', 'other-device',
]);

/** Refusals which asking again cannot change; they wait for the person. */
export const isFinal = (code: string): boolean => FINAL.has(code);

const ASKED_FOR = new Set(['busy', 'rate-limited', 'privacy', 'expired']);

/** Refusals after which the device wants to be left alone for a while. */
export const isAskedFor = (code: string): boolean => ASKED_FOR.has(code);

/** `expired` from a device that does not know the time yet ends by itself: it says when to ask again, or that it is the clock. */
export const isClockTrouble = (code: string, message = '', retryAfterS?: number): boolean =>
  code === 'expired' && (retryAfterS !== undefined || /\bclock\b/i.test(message));

/** Codes that a device may also give as the reason of a `bye`. */
export const isReason = (code: string): boolean => FINAL.has(code) || ASKED_FOR.has(code) || code === 'camera-unavailable';

/** How long to wait after a refusal or a failed attempt. */
export function pauseMs(code: string, retryAfterS: number | undefined, failures: number, rand: number): number {
  const asked = retryAfterS === undefined ? undefined : Math.min(Math.max(retryAfterS, 1), 300) * 1_000;
  const backoff = backoffMs(failures, rand);
  switch (code) {
    case 'busy':
      return asked ?? 15_000;
    case 'rate-limited':
      return asked ?? 10_000;
    case 'privacy':
      return asked ?? 60_000;
    case 'expired':
      return Math.max(30_000, asked ?? 60_000);
    case 'camera-unavailable':
      return asked ?? Math.max(5_000, backoff);
    case 'bad-message':
    case 'bad-offer':
    case 'too-large':
      return Math.max(10_000, backoff);
    case 'bye':
      return Math.max(2_000, backoff);
    default:
      return Math.max(asked ?? 0, backoff);
  }
}

/** A tab that nobody has seen for this long hangs up. */
export const UNSEEN_MS = 60_000;
