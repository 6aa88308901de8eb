import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signOf } from '../src/core/signs.ts';
import { UNSEEN_MS } from '../src/core/timing.ts';
import { forViewers } from '../src/core/words.ts';
import { did, SESSION, World } from './world.ts';

const refuse = (code: string, message = '') => ({ type: 'error' as const, session: SESSION, code, message });

test('a tab that nobody sees hangs up after a minute, and calls again when it is seen', () => {
  const world = new World().live(5_000);
  world.on({ type: 'hidden', hidden: true });
  assert.deepEqual(did(world.pass(UNSEEN_MS - 1_000, true)), []);
  const actions = world.pass(1_500, true);
  assert.deepEqual(did(actions), ['send', 'close-peer']);
  assert.deepEqual(actions[0], { do: 'send', message: { type: 'bye', session: SESSION, reason: 'hidden' } });
  assert.equal(world.say().phase, 'paused');
  // Nothing brings it back but somebody who looks.
  world.on({ type: 'network', up: true });
  world.on({ type: 'presence', presence: 'offline' });
  world.on({ type: 'presence', presence: 'online' });
  world.on({ type: 'device', state: { streaming: true } });
  world.on({ type: 'broker-closed', why: 'lost' });
  world.pass(20_000);
  world.on({ type: 'broker-open' });
  assert.equal(world.say().phase, 'paused');
  assert.ok(!did(world.pass(600_000)).includes('make-peer'));
  assert.ok(did(world.on({ type: 'wake', asleepMs: 0 })).includes('make-peer'));
  assert.equal(world.say().phase, 'calling');
});

test('a short look elsewhere changes nothing, and a tab opened in the background does not wait for ever', () => {
  const world = new World().live(5_000);
  for (let round = 0; round < 5; round += 1) {
    world.on({ type: 'hidden', hidden: true });
    world.pass(UNSEEN_MS - 5_000, true);
    world.on({ type: 'wake', asleepMs: 0 });
    world.pass(5_000, true);
    assert.equal(world.state.call.at, 'live');
  }
  const background = new World();
  background.on({ type: 'hidden', hidden: true });
  background.offered();
  background.pass(UNSEEN_MS + 1_000);
  assert.equal(background.say().phase, 'paused');
});

test('attempts are not made for ever where nobody sees them', () => {
  const world = new World().offered();
  world.down(refuse('busy'));
  world.on({ type: 'hidden', hidden: true });
  world.pass(UNSEEN_MS + 1_000);
  assert.equal(world.say().phase, 'paused');
  assert.deepEqual(did(world.pass(300_000)), []);
});

test('the last reason stays while the page tries again, until there is a picture', () => {
  const world = new World().answered();
  world.on({ type: 'ice', attempt: world.attempt, state: 'failed' });
  const first = world.say();
  assert.equal(first.code, 'no-path');
  world.pass((first.seconds ?? 0) * 1_000 + 250);
  for (const step of [() => undefined, () => world.ready(), () => world.answered()]) {
    step();
    const said = world.say();
    assert.deepEqual([said.text, said.hint, said.code, said.seconds], [first.text, first.hint, 'no-path', 0]);
    assert.ok(['calling', 'opening'].includes(said.phase), said.phase);
  }
  world.on({ type: 'ice', attempt: world.attempt, state: 'connected' });
  world.frame();
  assert.equal(world.say().phase, 'live');
  world.pass(60_000, true);
  world.on({ type: 'ice', attempt: world.attempt, state: 'failed' });
  assert.match(world.say().text, /^Reconnecting/, 'an old reason is not the reason of now');
});

test('what is over is not said any more', () => {
  const world = new World().offered();
  world.down(refuse('privacy'));
  world.on({ type: 'device', state: { streaming: true } });
  assert.match(world.say().text, /^Waiting for/);
  world.ready();
  world.down(refuse('camera-unavailable'));
  world.on({ type: 'presence', presence: 'offline' });
  world.on({ type: 'presence', presence: 'online' });
  assert.doesNotMatch(world.say().text, /no picture/);
});

test('every trouble has a sign, and what goes well has none', () => {
  const codes = ['no-h264', 'busy', 'rate-limited', 'privacy', 'camera-unavailable', 'unauthorized', 'expired', 'forbidden', 'no-answer', 'no-path',
    'no-picture', 'connection-lost', 'other-device', 'internal', 'a-code-of-the-future'];
  for (const phase of ['waiting', 'refused', 'calling'] as const) for (const code of codes) assert.ok(signOf({ phase, code }), `${phase} ${code}`);
  for (const phase of ['network-lost', 'broker-waiting', 'device-offline', 'stalled', 'paused'] as const) assert.ok(signOf({ phase }), phase);
  const signs = new Set(['privacy', 'camera-unavailable', 'busy', 'unauthorized', 'no-path', 'no-h264'].map((code) => signOf({ phase: 'waiting', code })));
  assert.equal(signs.size, 6, 'each its own');
  for (const phase of ['live', 'starting', 'calling', 'opening', 'broker-connecting', 'tap-to-play', 'setup'] as const) assert.equal(signOf({ phase }), undefined);
  assert.equal(signOf({ phase: 'refused', code: 'bad-key no-secret' }), signOf({ phase: 'refused', code: 'repeated' }));
});

test('viewers are not told what only the owner can change', () => {
  for (const [said, heard] of [
    ['no camera found; plug one in, or set camera.device = "test" for the test picture', 'no camera found'],
    ['the camera /dev/video0 is not there; plug it in or change camera.device', 'the camera /dev/video0 is not there'],
    ['the camera x offers no mode for camera.format = MJPG (it has: YUYV); set camera.format = "auto"', ''],
    ['/dev/v4l/by-id/usb-a.b-index0 is in use; end the other program', '/dev/v4l/by-id/usb-a.b-index0 is in use; end the other program'],
    ['it is busy', 'it is busy'],
  ] as const) assert.equal(forViewers(said), heard);
});
