import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from '../src/core/timing.ts';
import { candidate, did, sdp, SESSION, World } from './world.ts';

const refuse = (code: string, retryAfterS?: number) => ({ type: 'error' as const, session: SESSION, code, message: '', ...(retryAfterS ? { retryAfterS } : {}) });

test('broker and offer start together, and the offer goes out when both are there', () => {
  const brokerFirst = new World();
  assert.deepEqual(did(brokerFirst.on({ type: 'start' })), ['connect-broker', 'make-peer']);
  assert.deepEqual(did(brokerFirst.on({ type: 'broker-open' })), []);
  assert.deepEqual(did(brokerFirst.ready()), ['publish-offer']);

  const peerFirst = new World().start();
  assert.deepEqual(did(peerFirst.ready()), []);
  assert.deepEqual(did(peerFirst.on({ type: 'broker-open' })), ['publish-offer']);
});

test('the way to a live picture', () => {
  const world = new World().offered();
  assert.equal(world.say().phase, 'calling');
  assert.deepEqual(world.down({ type: 'answer', session: SESSION, sdp: sdp('U') }), [{ do: 'apply-answer', attempt: 1, sdp: sdp('U') }]);
  assert.equal(world.say().phase, 'opening');
  world.on({ type: 'frames', attempt: 1, count: 1 });
  assert.equal(world.say().phase, 'live');
  assert.deepEqual(did(world.pass(60_000, true)), []);
});

test('messages for another session, and events of another attempt, change nothing', () => {
  const world = new World().offered();
  assert.deepEqual(world.down({ type: 'answer', session: 'other', sdp: sdp('U') }), []);
  assert.deepEqual(world.down({ type: 'error', session: 'other', code: 'busy', message: '' }), []);
  assert.deepEqual(world.on({ type: 'peer-broken', attempt: 99, code: 'no-h264' }), []);
  assert.equal(world.state.call.at, 'offered');
});

test('candidates before the answer wait for it; those of another attempt are dropped', () => {
  const world = new World().offered();
  for (const ufrag of ['old', 'U']) world.down({ type: 'candidate', session: SESSION, candidate: candidate(ufrag) });
  const actions = world.down({ type: 'answer', session: SESSION, sdp: sdp('U'), iceServers: [{ urls: ['stun:a'] }] });
  assert.deepEqual(actions, [
    { do: 'apply-answer', attempt: 1, sdp: sdp('U'), iceServers: [{ urls: ['stun:a'] }] },
    { do: 'add-candidate', attempt: 1, candidate: candidate('U') },
  ]);
  assert.deepEqual(world.down({ type: 'candidate', session: SESSION, candidate: candidate('old') }), []);
  assert.deepEqual(did(world.down({ type: 'candidate', session: SESSION, candidate: null })), ['add-candidate']);
});

test('only so many candidates wait for an answer', () => {
  const world = new World().offered();
  for (let n = 0; n < 100; n += 1) world.down({ type: 'candidate', session: SESSION, candidate: candidate('U') });
  assert.equal(world.down({ type: 'answer', session: SESSION, sdp: sdp('U') }).length, 1 + 32);
});

test('our own candidates go out once the offer is out', () => {
  const world = new World().start();
  const mine = { type: 'local-candidate' as const, attempt: 1, candidate: candidate('me') };
  assert.deepEqual(world.on(mine), []);
  world.on({ type: 'broker-open' });
  world.ready();
  assert.deepEqual(world.on(mine), [{ do: 'send', message: { type: 'candidate', session: SESSION, candidate: candidate('me') } }]);
});

test('the same answer again is nothing; a different one shows that the first was stale', () => {
  const world = new World().answered('U');
  assert.deepEqual(world.down({ type: 'answer', session: SESSION, sdp: sdp('U') }), []);
  assert.deepEqual(did(world.down({ type: 'answer', session: SESSION, sdp: sdp('V') })), ['make-peer']);
});

test('no answer: says so, hangs up, and tries again with longer and longer pauses up to a bound', () => {
  const world = new World().offered();
  const pauses: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    const actions = world.pass(10_000);
    assert.deepEqual(did(actions), ['send', 'close-peer']);
    const said = world.say();
    assert.equal(said.code, 'no-answer');
    pauses.push(said.seconds ?? 0);
    assert.deepEqual(did(world.pass((said.seconds ?? 0) * 1_000)), ['make-peer']);
    assert.deepEqual(did(world.ready()), ['publish-offer']);
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
});

test('the backoff is spread but bounded', () => {
  assert.equal(backoffMs(1, 0), 750);
  assert.equal(backoffMs(1, 1), 1_250);
  assert.equal(backoffMs(10_000, 1), 37_500);
  assert.equal(backoffMs(0, 1), 300);
});

test('the answer came, but no way through the network', () => {
  const world = new World().answered();
  world.pass(12_000);
  assert.equal(world.say().code, 'no-path');
});

test('connected, but no picture', () => {
  const world = new World().answered();
  world.on({ type: 'ice', attempt: 1, state: 'connected' });
  world.pass(12_000);
  assert.equal(world.say().code, 'no-picture');
});

test('busy waits as long as the device asks, counts down, and asks again', () => {
  const world = new World().offered();
  world.down(refuse('busy', 20));
  assert.deepEqual([world.say().phase, world.say().code, world.say().seconds], ['waiting', 'busy', 20]);
  world.pass(5_000);
  assert.equal(world.say().seconds, 15);
  world.on({ type: 'wake', asleepMs: 60_000 });
  assert.equal(world.say().code, undefined); // the broker connection is renewed after sleep …
  world.on({ type: 'broker-open' });
  assert.equal(world.say().code, 'busy'); // … but the device is left alone
  assert.ok(did(world.pass(15_000)).includes('make-peer'));
});

test('a retryAfter without sense is bounded', () => {
  const world = new World().offered();
  world.down(refuse('rate-limited', 1e9));
  assert.equal(world.say().seconds, 300);
});

test('a refusal that cannot change waits for the person', () => {
  for (const code of ['unauthorized', 'expired', 'forbidden', 'no-h264', 'unsupported-version']) {
    const world = new World().offered();
    world.down(refuse(code));
    assert.deepEqual([world.say().phase, world.say().code, world.say().retry], ['refused', code, true]);
    assert.deepEqual(did(world.pass(600_000)), []);
    assert.deepEqual(did(world.on({ type: 'retry' })), ['make-peer']);
  }
});

test('a browser without H.264 or WebRTC is told before anything is asked of the device', () => {
  const world = new World().start();
  assert.deepEqual(did(world.on({ type: 'peer-broken', attempt: 1, code: 'no-h264' })), ['close-peer']);
  assert.deepEqual(did(world.on({ type: 'broker-open' })), []);
  assert.equal(world.say().phase, 'refused');
});

test('an error about one message does not end an answered or a live call', () => {
  const answered = new World().answered();
  assert.deepEqual(answered.down(refuse('rate-limited', 5)), []);
  const live = new World().live(1_000);
  assert.deepEqual(live.down(refuse('busy', 5)), []);
  assert.equal(live.say().phase, 'live');
});

test('privacy: waits, and starts when the switch is on again', () => {
  const world = new World().offered();
  world.on({ type: 'device', state: { streaming: true } });
  world.down(refuse('privacy'));
  assert.equal(world.say().code, 'privacy');
  assert.deepEqual(did(world.on({ type: 'device', state: { streaming: false } })), []);
  assert.deepEqual(did(world.on({ type: 'device', state: { streaming: true } })), ['make-peer']);
});

test('a camera that is back is tried soon, but not in a loop', () => {
  const world = new World().offered();
  for (let round = 0; round < 6; round += 1) {
    world.down(refuse('camera-unavailable'));
    world.on({ type: 'device', state: { camera: 'idle' } });
    assert.deepEqual(did(world.pass(4_750)), []);
    assert.deepEqual(did(world.pass(250)), ['make-peer']);
    world.ready();
  }
});

test('offline is believed, kept in words, and the offer goes out the moment the device is back', () => {
  const world = new World().start();
  world.ready();
  world.on({ type: 'presence', presence: 'offline' });
  assert.deepEqual(did(world.on({ type: 'broker-open' })), []);
  assert.equal(world.say().phase, 'device-offline');
  world.pass(30_000);
  assert.deepEqual(did(world.on({ type: 'presence', presence: 'online' })), ['publish-offer']);
});

test('an offer that waited long is made anew before it goes out', () => {
  const world = new World().start();
  world.on({ type: 'presence', presence: 'offline' });
  world.on({ type: 'broker-open' });
  world.ready();
  world.pass(61_000);
  assert.deepEqual(did(world.on({ type: 'presence', presence: 'online' })), ['make-peer']);
  assert.deepEqual(did(world.ready()), ['publish-offer']);
});

test('a device that goes offline before the picture: a new offer is kept ready', () => {
  const world = new World().answered();
  assert.deepEqual(did(world.on({ type: 'presence', presence: 'offline' })), ['make-peer']);
  assert.deepEqual(did(world.ready()), []);
  assert.equal(world.say().phase, 'device-offline');
});

test('a device that loses its broker keeps its picture; a restarted one is called again', () => {
  const world = new World().live(20_000);
  world.on({ type: 'presence', presence: 'offline' });
  world.pass(20_000, true);
  assert.equal(world.say().phase, 'live');
  assert.deepEqual(did(world.on({ type: 'presence', presence: 'online' })), []);
  assert.deepEqual(did(world.pass(5_000, true)), []);
  world.on({ type: 'presence', presence: 'offline' });
  world.on({ type: 'presence', presence: 'online' });
  assert.deepEqual(did(world.pass(1_500)), ['make-peer']);
});

test('the broker goes: the picture stays; it comes back: nothing is asked while frames come', () => {
  const world = new World().live(20_000);
  world.on({ type: 'broker-closed', why: 'lost' });
  const actions = world.pass(5_000, true);
  assert.deepEqual(did(actions), ['connect-broker']);
  assert.equal(world.say().phase, 'live');
  assert.notEqual(world.say().hint, '');
  world.on({ type: 'broker-open' });
  assert.deepEqual(did(world.pass(5_000, true)), []);
  assert.equal(world.say().hint, '');
});

test('the broker goes before the picture: a fresh offer when it is back', () => {
  for (const world of [new World().offered(), new World().answered()]) {
    world.on({ type: 'broker-closed', why: 'lost' });
    assert.ok(did(world.pass(2_000)).includes('connect-broker'));
    assert.deepEqual(did(world.on({ type: 'broker-open' })), ['make-peer']);
    assert.deepEqual(did(world.ready()), ['publish-offer']);
  }
});

test('an unreachable broker is tried with longer and longer pauses, and at once when asked', () => {
  const world = new World().start();
  world.ready();
  const pauses: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    world.on({ type: 'broker-closed', why: 'unreachable' });
    const said = world.say();
    assert.equal(said.phase, 'broker-waiting');
    pauses.push(said.seconds ?? 0);
    assert.deepEqual(did(world.pass((said.seconds ?? 0) * 1_000)), ['connect-broker']);
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 30, 30]);
  world.on({ type: 'broker-closed', why: 'unreachable' });
  assert.deepEqual(did(world.on({ type: 'retry' })), ['connect-broker']);
});

test('a broker that says nothing is given up after a while', () => {
  const world = new World().start();
  world.ready();
  assert.deepEqual(did(world.pass(10_000)), ['close-broker']);
  assert.equal(world.say().code, 'broker-unreachable');
});

test('two clients that throw each other off the broker do not spin', () => {
  const world = new World().start();
  let connects = 0;
  for (let second = 0; second < 120; second += 1) {
    if (world.state.broker.at === 'connecting') {
      connects += 1;
      world.on({ type: 'broker-open' });
      world.on({ type: 'broker-closed', why: 'lost' });
    }
    world.pass(1_000);
  }
  assert.ok(connects <= 9, `${connects} connections in two minutes`);
});

test('a frozen picture is named after 3 s and called again after 8 s', () => {
  const world = new World().live(20_000);
  assert.deepEqual(did(world.pass(2_750)), ['probe-broker']);
  assert.equal(world.say().phase, 'live');
  world.pass(250);
  assert.equal(world.say().phase, 'stalled');
  assert.deepEqual(did(world.pass(5_000)), ['make-peer']);
  assert.match(world.say().text, /Reconnecting/);
});

test('a picture that goes on by itself is live again', () => {
  const world = new World().live(20_000);
  world.pass(5_000);
  world.frame();
  assert.equal(world.say().phase, 'live');
});

test('pictures that never last are not asked for in a loop', () => {
  const world = new World().live();
  let calls = 0;
  for (let second = 0; second < 120; second += 1) {
    if (world.state.call.at === 'live') world.on({ type: 'ice', attempt: world.attempt, state: 'failed' });
    if (world.state.call.at === 'preparing') {
      calls += 1;
      world.ready();
      world.down({ type: 'answer', session: SESSION, sdp: sdp('U') });
      world.frame();
    }
    world.pass(1_000);
  }
  assert.ok(calls <= 8, `${calls} calls in two minutes`);
});

test('ICE: "disconnected" for a moment is nothing, for some seconds a new attempt, "failed" at once', () => {
  const ice = (world: World, state: RTCPeerConnectionState) => world.on({ type: 'ice', attempt: world.attempt, state });
  const blip = new World().live(20_000);
  ice(blip, 'disconnected');
  blip.pass(3_000);
  ice(blip, 'connected');
  assert.deepEqual(did(blip.pass(10_000, true)), []);

  const gone = new World().live(20_000);
  ice(gone, 'disconnected');
  assert.deepEqual(did(gone.pass(4_000)), ['probe-broker', 'make-peer']);

  const failed = new World().live(20_000);
  assert.deepEqual(did(ice(failed, 'failed')), ['make-peer']);
});

test('a bye says why and comes back; one with a final reason does not', () => {
  const world = new World().live(20_000);
  world.down({ type: 'bye', session: SESSION, reason: 'camera restarted' });
  assert.equal(world.say().code, 'bye');
  assert.match(world.say().hint, /camera restarted/);
  assert.deepEqual(did(world.pass(2_000)), ['make-peer']);

  const revoked = new World().live(20_000);
  revoked.down({ type: 'bye', session: SESSION, reason: 'unauthorized' });
  assert.equal(revoked.say().phase, 'refused');
  assert.deepEqual(did(revoked.pass(60_000)), []);
});

test('the words of a bye are taken also when the media ended first', () => {
  const world = new World().live(1_000);
  world.on({ type: 'ice', attempt: 1, state: 'closed' });
  assert.equal(world.say().code, 'connection-lost');
  world.down({ type: 'bye', session: SESSION, reason: 'privacy' });
  assert.equal(world.say().code, 'privacy');
});

test('a picture that waits for a tap is not judged', () => {
  const world = new World().answered();
  world.on({ type: 'ice', attempt: 1, state: 'connected' });
  world.on({ type: 'play', refused: true });
  assert.deepEqual(did(world.pass(60_000)), []);
  world.frame();
  assert.deepEqual(did(world.pass(60_000)), []);
  assert.equal(world.say().phase, 'tap-to-play');
});

test('a bye of the attempt before does not end the new offer', () => {
  const world = new World().offered();
  assert.deepEqual(world.down({ type: 'bye', session: SESSION, reason: 'timeout' }), []);
  assert.equal(world.state.call.at, 'offered');
});

test('after sleep a living picture proves itself, a dead one is called again with a new broker connection', () => {
  const alive = new World().live(20_000);
  alive.now += 60_000;
  alive.on({ type: 'wake', asleepMs: 60_000 });
  assert.equal(alive.say().phase, 'live');
  assert.deepEqual(did(alive.pass(10_000, true)), []);

  const dead = new World().live(20_000);
  dead.now += 60_000;
  assert.deepEqual(did(dead.on({ type: 'wake', asleepMs: 60_000 })), []);
  assert.deepEqual(did(dead.pass(1_500)), ['make-peer', 'connect-broker']);
  dead.ready();
  assert.deepEqual(did(dead.on({ type: 'broker-open' })), ['publish-offer']);
});

test('a hidden page does not judge the picture', () => {
  const world = new World().live(20_000);
  world.on({ type: 'hidden', hidden: true });
  assert.deepEqual(did(world.pass(60_000)), []);
});

test('a short look away costs nothing', () => {
  const world = new World().live(20_000);
  world.on({ type: 'hidden', hidden: true });
  world.pass(2_000, true);
  world.on({ type: 'wake', asleepMs: 2_000 });
  assert.deepEqual(did(world.pass(5_000, true)), []);
});

test('the network goes and comes back: everything is tried at once', () => {
  const world = new World().offered();
  world.on({ type: 'network', up: false });
  assert.equal(world.say().phase, 'network-lost');
  world.on({ type: 'broker-closed', why: 'lost' });
  assert.deepEqual(did(world.on({ type: 'network', up: true })), ['connect-broker', 'make-peer']);
});

test('the network changes under a live picture: both are renewed only if the picture is dead', () => {
  const alive = new World().live(20_000);
  alive.on({ type: 'network-changed' });
  assert.deepEqual(did(alive.pass(10_000, true)), []);
  const dead = new World().live(20_000);
  dead.on({ type: 'network-changed' });
  assert.deepEqual(did(dead.pass(1_500)), ['make-peer', 'connect-broker']);
});

test('leaving says bye once and then nothing more', () => {
  const world = new World().live(1_000);
  assert.deepEqual(world.on({ type: 'leave' }), [
    { do: 'send', message: { type: 'bye', session: SESSION, reason: 'left' } },
    { do: 'close-peer' },
  ]);
  assert.deepEqual(world.on({ type: 'leave' }), []);
  assert.deepEqual(world.pass(60_000), []);
});

test('expired is final, but a device without the time is asked again, slowly', () => {
  const clock = new World().offered();
  clock.down({ type: 'error', session: SESSION, code: 'expired', message: 'the clock is not set yet' });
  assert.deepEqual([clock.say().phase, clock.say().seconds], ['waiting', 60]);
  assert.deepEqual(did(clock.on({ type: 'wake', asleepMs: 1_000 })), [], 'coming back to the tab does not ask sooner');
  assert.deepEqual(did(clock.pass(60_000)), ['make-peer']);

  const said = new World().offered();
  said.down(refuse('expired', 2));
  assert.deepEqual([said.say().phase, said.say().seconds], ['waiting', 30]);
});

test('a broker that refuses the login is not asked in a hurry', () => {
  for (const why of ['refused', 'ended', 'not-allowed'] as const) {
    const world = new World().start();
    world.on({ type: 'broker-closed', why });
    assert.equal(world.say().seconds, 30);
    assert.ok(!did(world.pass(29_000)).includes('connect-broker'));
    assert.ok(did(world.pass(1_000)).includes('connect-broker'));
  }
});
