// What an answer has to prove before anything is done with it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { candidate, did, sdp, SESSION, World } from './world.ts';

test('an answer that does not prove who it is from never reaches the browser, and waits for the person', () => {
  for (const [trust, code] of [['unsigned', 'answer-unsigned'], ['changed', 'answer-changed'], ['other-device', 'other-device']] as const) {
    const world = new World().offered();
    world.trust = trust;
    world.down({ type: 'candidate', session: SESSION, candidate: candidate('U') });
    const actions = world.down({ type: 'answer', session: SESSION, sdp: sdp('U'), iceServers: [{ urls: ['turn:evil'] }] });
    assert.deepEqual(actions, [{ do: 'send', message: { type: 'bye', session: SESSION, reason: code } }, { do: 'close-peer' }]);
    assert.deepEqual([world.say().phase, world.say().code], ['refused', code]);
    assert.deepEqual(world.down({ type: 'candidate', session: SESSION, candidate: candidate('U') }), []);
    assert.deepEqual(did(world.pass(600_000)), []);
    world.trust = 'verified';
    assert.deepEqual(world.down({ type: 'answer', session: SESSION, sdp: sdp('U') }), [], 'too late');
    assert.deepEqual(did(world.on({ type: 'retry' })), ['make-peer']);
  }
});

test('a replayed answer is passed over, and the right one still counts', () => {
  const world = new World().offered();
  world.trust = 'stale';
  assert.deepEqual(world.down({ type: 'answer', session: SESSION, sdp: sdp('old') }), []);
  assert.equal(world.state.call.at, 'offered');
  world.trust = 'verified';
  assert.deepEqual(did(world.down({ type: 'answer', session: SESSION, sdp: sdp('U') })), ['apply-answer']);
});

test('nothing takes the place of a verified answer, and nothing more is judged', () => {
  const world = new World().offered();
  world.trust = 'verified';
  world.answered();
  for (const trust of ['changed', 'stale', 'verified', 'unsigned'] as const) {
    world.trust = trust;
    assert.deepEqual(world.down({ type: 'answer', session: SESSION, sdp: sdp('V') }), []);
  }
  assert.equal(world.judged, 1);
  assert.equal(world.say().phase, 'opening');
});

test('replayed answers alone end like no answer', () => {
  const world = new World().offered();
  world.trust = 'stale';
  for (let n = 0; n < 39; n += 1) {
    world.down({ type: 'answer', session: SESSION, sdp: sdp('old') });
    world.pass(250);
  }
  world.pass(250);
  assert.equal(world.say().code, 'no-answer');
});
