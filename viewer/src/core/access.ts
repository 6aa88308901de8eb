// Who is who (protocol section 2.2): signs offers with the link's secret, judges answers by the link's key.
// Pure, but for the random bytes that it is given. Plain JavaScript cryptography, because the browser's own
// (`crypto.subtle`) is missing on pages that come over http, as this one usually does.

import * as ed25519 from '@noble/ed25519';
import { hkdf } from '@noble/hashes/hkdf';
import { sha256, sha512 } from '@noble/hashes/sha2';
import type { Link } from './link.ts';
import type { Answer } from './signal.ts';

ed25519.etc.sha512Sync = (...parts) => sha512(ed25519.etc.concatBytes(...parts));

export const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const NONCE_BYTES = 16;

/** Earlier offers of this page whose late answers are told from forged ones. */
const REMEMBERED_OFFERS = 4;

/** `offer.auth`: which grant asks, and that it is really asking for this very offer. */
export interface Auth {
  grant: string;
  nonce: string;
  sig: string;
}

/** What an answer is worth. */
export type Trust =
  | 'unchecked' // the link has no key, so nobody can tell
  | 'verified'
  | 'stale' // the device's own, but to an earlier offer of this page
  | 'unsigned'
  | 'changed' // not what the device has signed
  | 'other-device'; // signed by a device with another key

interface Sent {
  nonce: string;
  offerHash: string;
}

/** The grant and the key of one link, for one session of one viewer. */
export class Access {
  /** The latest first. */
  private readonly sent: Sent[] = [];

  constructor(
    private readonly link: Pick<Link, 'device' | 'key' | 'grant' | 'secret'>,
    private readonly viewer: string,
    private readonly session: string,
    private readonly random: (length: number) => Uint8Array,
  ) {}

  /** To be asked once for each offer that goes out: remembers it, and signs it if the link has a grant. */
  sign(sdp: string): Auth | undefined {
    const { device, grant, secret } = this.link;
    const offerHash = hashOf(sdp);
    const auth = grant !== undefined && secret !== undefined;
    const nonce = auth ? toBase64Url(this.random(NONCE_BYTES)) : '';
    this.sent.unshift({ nonce, offerHash });
    this.sent.length = Math.min(this.sent.length, REMEMBERED_OFFERS);
    if (!auth) return undefined;
    const lines = ['porthole-offer-v1', device, this.viewer, this.session, nonce, offerHash];
    return { grant, nonce, sig: toBase64Url(ed25519.sign(utf8(lines), seedOf(secret))) };
  }

  /** Judges an answer against the offers that went out. Whatever the answer holds, it does not throw. */
  judge(answer: Pick<Answer, 'sdp' | 'identity'>): Trust {
    const { key } = this.link;
    if (key === undefined) return 'unchecked';
    if (!answer.identity) return 'unsigned';
    const named = fromBase64Url(answer.identity.key, KEY_BYTES);
    const sig = fromBase64Url(answer.identity.sig, SIGNATURE_BYTES);
    if (!named || !sig) return 'changed';
    const answerHash = hashOf(answer.sdp);
    const signed = this.sent.findIndex((sent) => verifies(sig, this.answerLines(sent, answerHash), named));
    // A foreign key makes another device of it only if that device has really signed.
    if (answer.identity.key !== key) return signed < 0 ? 'changed' : 'other-device';
    if (signed < 0) return 'changed';
    return signed === 0 ? 'verified' : 'stale';
  }

  private answerLines({ nonce, offerHash }: Sent, answerHash: string): Uint8Array {
    return utf8(['porthole-answer-v1', this.link.device, this.viewer, this.session, nonce, offerHash, answerHash]);
  }
}

/** How to log in at the broker: as the broker's URL says, or else with the grant and a token made from its secret. */
export function loginOf(link: Link): { username?: string; password?: string } {
  const { username, password, grant, secret } = link;
  if (username === undefined && password === undefined && grant !== undefined && secret !== undefined) {
    return { username: grant, password: bearerToken(secret) };
  }
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
}

/** From the token nobody gets back to the secret, so a broker that hears it still cannot sign an offer. */
export function bearerToken(secret: string): string {
  return toBase64Url(hkdf(sha256, seedOf(secret), undefined, 'porthole-bearer-v1', 32));
}

/** Exactly so many bytes in base64url without padding, or nothing. */
export function fromBase64Url(text: string, length: number): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length !== Math.ceil((length * 8) / 6)) return undefined;
  const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
  const bytes = Uint8Array.from(binary, (byte) => byte.charCodeAt(0));
  // The last character has bits to spare: of the texts that decode to the same bytes only one is right.
  return toBase64Url(bytes) === text ? bytes : undefined;
}

export function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

function seedOf(secret: string): Uint8Array {
  const seed = fromBase64Url(secret, KEY_BYTES);
  if (!seed) throw new Error('the link was not checked before its secret was used'); // never with the secret in it
  return seed;
}

function verifies(sig: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  try {
    // RFC 8032 to the letter; the default would also take keys and signatures that are not canonical.
    return ed25519.verify(sig, message, key, { zip215: false });
  } catch {
    return false; // not a point of the curve
  }
}

const utf8 = (lines: string[]): Uint8Array => new TextEncoder().encode(lines.join('\n'));

const hashOf = (sdp: string): string => toBase64Url(sha256(new TextEncoder().encode(sdp)));
