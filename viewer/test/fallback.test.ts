import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Phase } from '../src/core/words.ts';
import { freshTally, tallied } from '../src/net/fallback.ts';

const after = (...said: [phase: Phase, code: string | undefined, attempt: number][]): boolean =>
  said.reduce((tally, [phase, code, attempt]) => tallied(tally, code === undefined ? { phase } : { phase, code }, attempt), freshTally()).wanted;

test('a browser that lacks what live video needs gets pictures at once', () => {
  assert.ok(after(['refused', 'no-webrtc', 1]));
  assert.ok(after(['refused', 'no-h264', 1]));
  assert.ok(after(['refused', 'no-h264', 1], ['calling', undefined, 2]), 'and keeps them while it is tried again');
});

test('a network without a way gets them after the second attempt', () => {
  assert.ok(!after(['waiting', 'no-path', 1], ['waiting', 'no-path', 1], ['calling', undefined, 2], ['opening', undefined, 2]));
  assert.ok(after(['waiting', 'no-path', 1], ['calling', undefined, 2], ['waiting', 'no-path', 2]));
  assert.ok(!after(['waiting', 'no-path', 1], ['live', undefined, 2], ['waiting', 'no-path', 3]), 'there was a way');
});

test('live video ends them', () => {
  assert.ok(!after(['refused', 'no-h264', 1], ['live', undefined, 2]));
  assert.ok(!after(['refused', 'no-h264', 1], ['tap-to-play', undefined, 2]));
});

test('what somebody has decided is not got around', () => {
  for (const code of ['privacy', 'forbidden', 'expired', 'unauthorized', 'answer-changed', 'other-device']) {
    assert.ok(!after(['refused', code, 1]), code);
    assert.ok(!after(['refused', 'no-h264', 1], ['refused', code, 2]), code);
  }
  for (const code of ['busy', 'no-answer', 'camera-unavailable', 'broker-unreachable']) assert.ok(!after(['waiting', code, 1]), code);
});
