// Everything here is checked against Node's own cryptography, which shares no code with what the page uses.

import assert from 'node:assert/strict';
import { createHash, createPrivateKey, createPublicKey, hkdfSync, randomBytes, sign, verify, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { Access, bearerToken, fromBase64Url, loginOf, toBase64Url } from '../src/core/access.ts';
import type { Link } from '../src/core/link.ts';

const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
const hash = (text: string): string => createHash('sha256').update(text, 'utf8').digest('base64url');
const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));

/** An Ed25519 key pair as OpenSSL makes it from a seed. */
function pair(seed: Uint8Array): { secret: KeyObject; open: KeyObject; key: string } {
  const secret = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const open = createPublicKey(secret);
  return { secret, open, key: open.export({ format: 'jwk' }).x as string };
}

const DEVICE = pair(new Uint8Array(32).fill(7));
const SEED = new Uint8Array(32).fill(9);
const GRANT = pair(SEED);
const OFFER = 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=ü\r\n';
const ANSWER = 'v=0\r\na=fingerprint:sha-256 AA:BB\r\n';

const invited = (more = {}): Access => new Access({ device: 'front-door', key: DEVICE.key, grant: 'anna', secret: b64(SEED), ...more }, 'web-1', 'S', random);

interface Signed {
  nonce: string;
  offer?: string;
  answer?: string;
  by?: typeof DEVICE;
  device?: string;
  viewer?: string;
  session?: string;
}

/** An answer as the device signs it. */
function answer({ nonce, offer = OFFER, answer: sdp = ANSWER, by = DEVICE, device = 'front-door', viewer = 'web-1', session = 'S' }: Signed) {
  const lines = ['porthole-answer-v1', device, viewer, session, nonce, hash(offer), hash(sdp)];
  return { sdp, identity: { key: by.key, sig: b64(sign(null, Buffer.from(lines.join('\n')), by.secret)) } };
}

test('an offer is signed over exactly the lines of the protocol', () => {
  const auth = invited().sign(OFFER);
  assert.ok(auth);
  assert.equal(auth.grant, 'anna');
  assert.equal(fromBase64Url(auth.nonce, 16)?.length, 16);
  const lines = ['porthole-offer-v1', 'front-door', 'web-1', 'S', auth.nonce, hash(OFFER)].join('\n');
  assert.ok(verify(null, Buffer.from(lines), GRANT.open, Buffer.from(auth.sig, 'base64url')));
  assert.ok(!verify(null, Buffer.from(`${lines}\n`), GRANT.open, Buffer.from(auth.sig, 'base64url')));
  assert.deepEqual(Object.keys(auth), ['grant', 'nonce', 'sig']);
});

test('every offer has a nonce of its own, the same one again too', () => {
  const access = invited();
  const nonces = Array.from({ length: 20 }, () => access.sign(OFFER)?.nonce);
  assert.equal(new Set(nonces).size, 20);
});

test('without a grant nothing is signed, and the answer is signed with an empty nonce', () => {
  const access = new Access({ device: 'front-door', key: DEVICE.key }, 'web-1', 'S', random);
  assert.equal(access.sign(OFFER), undefined);
  assert.equal(access.judge(answer({ nonce: '' })), 'verified');
  assert.equal(access.judge({ sdp: ANSWER }), 'unsigned');
});

test('the device\'s answer to this offer is taken', () => {
  const access = invited();
  const nonce = access.sign(OFFER)?.nonce ?? '';
  assert.equal(access.judge(answer({ nonce })), 'verified');
});

test('what was changed on the way is told: the answer, the offer, and every line beside them', () => {
  const access = invited();
  const nonce = access.sign(OFFER)?.nonce ?? '';
  const good = answer({ nonce });
  assert.equal(access.judge({ ...good, sdp: ANSWER.replace('AA', 'CC') }), 'changed');
  for (const other of [
    { offer: OFFER.replace('1 2', '1 3') }, { nonce: b64(random(16)) }, { nonce: '' }, { device: 'back-door' }, { viewer: 'web-2' }, { session: 'T' },
  ]) assert.equal(access.judge(answer({ nonce, ...other })), 'changed', JSON.stringify(other));
});

test('an answer without identity, or with half of one, is unsigned or changed', () => {
  const access = invited();
  const good = answer({ nonce: access.sign(OFFER)?.nonce ?? '' });
  assert.equal(access.judge({ sdp: good.sdp }), 'unsigned');
  const { key, sig } = good.identity;
  const bytes = Buffer.from(sig, 'base64url');
  const bent = Buffer.from(bytes);
  bent[10] = (bent[10] ?? 0) ^ 1;
  for (const bad of ['', 'x', sig.slice(0, -1), `${sig}A`, `${sig}==`, b64(bent), b64(new Uint8Array(64)), sig.replace(/.$/, 'B')]) {
    assert.equal(access.judge({ sdp: good.sdp, identity: { key, sig: bad } }), 'changed', bad);
  }
  for (const bad of ['', key.slice(1), '*'.repeat(43), b64(new Uint8Array(32)), b64(new Uint8Array(32).fill(255))]) {
    assert.equal(access.judge({ sdp: good.sdp, identity: { key: bad, sig } }), 'changed', bad);
  }
});

test('a signature made longer by the group\'s order says the same, and is refused', () => {
  const access = invited();
  const good = answer({ nonce: access.sign(OFFER)?.nonce ?? '' });
  const bytes = Buffer.from(good.identity.sig, 'base64url');
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  let s = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString('hex')}`) + order;
  for (let at = 32; at < 64; at += 1, s >>= 8n) bytes[at] = Number(s & 255n);
  assert.equal(access.judge({ ...good, identity: { ...good.identity, sig: b64(bytes) } }), 'changed');
});

test('a key of small order vouches for nothing, not even when the link names it', () => {
  const small = b64(Uint8Array.from([1, ...new Array<number>(31).fill(0)]));
  const access = invited({ key: small });
  access.sign(OFFER);
  const sig = b64(Uint8Array.from([1, ...new Array<number>(63).fill(0)]));
  assert.equal(access.judge({ sdp: ANSWER, identity: { key: small, sig } }), 'changed');
});

test('another device that signs for itself is told from a forger who only names its key', () => {
  const other = pair(new Uint8Array(32).fill(8));
  const access = invited();
  const nonce = access.sign(OFFER)?.nonce ?? '';
  assert.equal(access.judge(answer({ nonce, by: other })), 'other-device');
  const good = answer({ nonce });
  assert.equal(access.judge({ ...good, identity: { ...good.identity, key: other.key } }), 'changed');
});

test('an answer to an earlier offer is stale, never good; one from long ago is like a forged one', () => {
  const access = invited();
  const first = access.sign(OFFER)?.nonce ?? '';
  const second = access.sign(OFFER)?.nonce ?? '';
  assert.equal(access.judge(answer({ nonce: first })), 'stale');
  assert.equal(access.judge(answer({ nonce: second })), 'verified');
  for (let n = 0; n < 4; n += 1) access.sign(OFFER);
  assert.equal(access.judge(answer({ nonce: second })), 'changed');
});

test('a link without a key refuses nothing', () => {
  const access = new Access({ device: 'front-door', grant: 'anna', secret: b64(SEED) }, 'web-1', 'S', random);
  assert.ok(access.sign(OFFER));
  for (const got of [{ sdp: ANSWER }, answer({ nonce: '' }), { sdp: ANSWER, identity: { key: '', sig: '' } }]) assert.equal(access.judge(got), 'unchecked');
});

test('the bearer token is the one that HKDF gives', () => {
  const want = Buffer.from(hkdfSync('sha256', SEED, new Uint8Array(0), 'porthole-bearer-v1', 32)).toString('base64url');
  assert.equal(bearerToken(b64(SEED)), want);
});

test('the grant is the login, unless the broker\'s URL has one', () => {
  const link: Link = { url: 'ws://h/', device: 'd', root: 'porthole', grant: 'anna', secret: b64(SEED), iceServers: [] };
  assert.deepEqual(loginOf(link), { username: 'anna', password: bearerToken(b64(SEED)) });
  assert.deepEqual(loginOf({ ...link, username: 'u', password: 'p' }), { username: 'u', password: 'p' });
  assert.deepEqual(loginOf({ ...link, username: 'u' }), { username: 'u' });
  assert.deepEqual(loginOf({ url: 'ws://h/', device: 'd', root: 'porthole', iceServers: [] }), {});
});

test('base64url is taken only in its one right form', () => {
  for (let length = 0; length < 70; length += 1) {
    const bytes = random(length);
    assert.equal(toBase64Url(bytes), b64(bytes));
    assert.deepEqual(fromBase64Url(b64(bytes), length), bytes);
    assert.equal(fromBase64Url(b64(bytes), length + 1), undefined);
  }
  const key = b64(new Uint8Array(32).fill(0xff));
  for (const bad of [`${key}=`, `${key} `, `${key}\n`, key.slice(1), key.replace('_', '/'), key.replace(/.$/, '9'), 'ü'.repeat(43)]) assert.equal(fromBase64Url(bad, 32), undefined, bad);
});
