// The vectors that every implementation of the protocol's section 2.2 is checked with, the device's too.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import vectors from '../../tests/vectors/access.json';
import { Access, bearerToken, fromBase64Url } from '../src/core/access.ts';
import { complete, parseFragment } from '../src/core/link.ts';

const { keys, link, offers, answers } = vectors;
const seedOf = (key: string): string | undefined => keys.find((row) => row.key === key)?.seed;

/** Randomness that gives one nonce, which need not have the right length. */
const nonceOnly = (nonce: string) => (length: number): Uint8Array => fromBase64Url(nonce, length) ?? new Uint8Array(Buffer.from(nonce, 'base64url'));

test('the bearer tokens', () => {
  assert.ok(keys.length > 0);
  for (const { seed, bearer, name } of keys) assert.equal(bearerToken(seed), bearer, name);
});

test('the link is read, and its secret is the grant\'s seed', () => {
  const got = complete(parseFragment(new URL(link).hash));
  assert.ok(!Array.isArray(got), String(got));
  assert.equal(got.key, keys.find(({ name }) => name === 'device')?.key);
  assert.equal(got.secret, keys.find(({ name }) => name === 'grant')?.seed);
  assert.deepEqual([got.grant, got.device, got.url], ['anna', 'front-door', 'ws://192.0.2.7:9001/mqtt']);
});

test('the offers that are right are signed exactly so', () => {
  const right = offers.filter(({ valid }) => valid);
  assert.ok(right.length > 0);
  for (const { name, device, viewer, session, nonce, offerSdp, key, sig } of right) {
    const secret = seedOf(key);
    assert.ok(secret, name);
    assert.deepEqual(new Access({ device, grant: 'anna', secret }, viewer, session, nonceOnly(nonce)).sign(offerSdp), { grant: 'anna', nonce, sig }, name);
  }
});

for (const { name, valid, device, viewer, session, nonce, offerSdp, answerSdp, key, sig } of answers) {
  test(`answer: ${name}`, () => {
    const grant = nonce === null ? {} : { grant: 'anna', secret: keys[0]?.seed ?? '' };
    const access = new Access({ device, key, ...grant }, viewer, session, nonceOnly(nonce ?? ''));
    access.sign(offerSdp);
    const trust = access.judge({ sdp: answerSdp, identity: { key, sig } });
    assert.equal(trust === 'verified', valid, trust);
  });
}
