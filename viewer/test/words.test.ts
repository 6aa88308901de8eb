import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flaw } from '../src/core/link.ts';
import { flawWords, say, sayFlaws, sayUninvited, when } from '../src/core/words.ts';
import { de } from '../src/texts/de.ts';
import { en } from '../src/texts/en.ts';
import { SESSION, World } from './world.ts';

const CODES = [
  'bad-message', 'too-large', 'unsupported-version', 'bad-offer', 'no-h264', 'unauthorized', 'expired', 'forbidden', 'busy', 'rate-limited',
  'camera-unavailable', 'privacy', 'no-session', 'internal', 'a-code-of-the-future',
];

function refusedWith(code: string, message = '') {
  const world = new World().offered();
  world.down({ type: 'error', session: SESSION, code, message });
  return world.say();
}

test('every error code has a sentence of its own and says what comes next', () => {
  const texts = new Set<string>();
  for (const code of CODES) {
    const said = refusedWith(code);
    assert.match(said.text, /^\S.*\.$/, code);
    assert.match(said.hint, /\w.*[.]$/, code);
    if (code.includes('-')) assert.ok(!said.text.includes(code), `"${said.text}" is not plain words`);
    assert.equal(said.code, code);
    assert.ok(said.retry);
    if (said.phase === 'waiting') assert.ok((said.seconds ?? 0) > 0, `${code} says when it tries again`);
    texts.add(said.text);
  }
  assert.ok(texts.size >= CODES.length - 3, 'only those that mean the same to people share one');
});

test('the device is quoted where that helps', () => {
  assert.match(refusedWith('camera-unavailable', '/dev/video0 is in use').hint, /The camera says: \/dev\/video0 is in use\. /);
  assert.match(refusedWith('internal', 'oh dear!').hint, /oh dear! The page/);
  assert.doesNotMatch(refusedWith('busy', 'limit reached').hint, /limit reached/);
});

test('the sentence stays the same while the countdown runs', () => {
  const world = new World().offered();
  world.down({ type: 'error', session: SESSION, code: 'busy', message: '', retryAfterS: 9 });
  const before = world.say();
  world.pass(3_000);
  const after = world.say();
  assert.equal(after.text, before.text);
  assert.equal(after.hint, before.hint);
  assert.deepEqual([before.seconds, after.seconds], [9, 6]);
});

test('the broker\'s troubles are told apart', () => {
  const texts = (['unreachable', 'lost', 'refused', 'not-allowed'] as const).map((why) => {
    const world = new World().start();
    world.on({ type: 'broker-closed', why });
    assert.ok(world.say().text.includes('host:9001'));
    return world.say().text;
  });
  assert.equal(new Set(texts).size, 4);
});

test('a camera that is asked without a broker is no broker', () => {
  const names = { camera: 'Door', broker: 'camera:8080', brokerIsCamera: true };
  const world = new World().start();
  world.on({ type: 'broker-closed', why: 'unreachable' });
  for (const texts of [en, de]) {
    const { text, hint } = say(world.state, names, world.now, texts);
    assert.match(text, /camera:8080/);
    assert.doesNotMatch(text + hint, /broker/i);
  }
});

test('offline says since when, if the device has said', () => {
  const world = new World().start();
  world.on({ type: 'broker-open' });
  world.on({ type: 'presence', presence: 'offline' });
  assert.equal(world.say().text, 'Front door is offline.');
  world.on({ type: 'device', state: { timeMs: new Date(2020, 2, 3, 14, 5).getTime() } });
  assert.equal(world.say().text, 'Front door is offline. It was last heard from on 3 March at 14:05.');
});

test('times of today leave out the day', () => {
  const noon = new Date(2026, 10, 3, 12, 0).getTime();
  assert.equal(when(noon, noon + 60_000), 'at 12:00');
  assert.equal(when(noon, noon + 86_400_000), 'on 3 November at 12:00');
});

test('a picture that needs a tap says so', () => {
  const world = new World().live();
  world.on({ type: 'play', refused: true });
  assert.equal(world.say().phase, 'tap-to-play');
  world.on({ type: 'play', refused: false });
  assert.equal(world.say().phase, 'live');
});

test('every flaw of a link has a sentence', () => {
  const flaws: Flaw[] = [
    'no-broker', 'no-device', 'bad-broker', 'bad-device', 'bad-viewer', 'bad-root', 'insecure',
    'bad-key', 'bad-grant', 'bad-secret', 'no-grant', 'no-secret', 'repeated',
  ];
  assert.equal(new Set(flaws.map((flaw) => flawWords(flaw))).size, flaws.length);
});

test('a damaged link is no reason to fill in a form', () => {
  const damaged = sayFlaws(['no-broker', 'bad-key']);
  assert.deepEqual([damaged.phase, damaged.text, damaged.code, damaged.retry], ['refused', 'This link is damaged.', 'bad-key', false]);
  assert.match(damaged.hint, /key in it is not whole\. Copy the whole link again/);
  assert.equal(sayFlaws(['no-broker']).phase, 'setup');
});

test('the ways not to prove who answered have different words, and each says what to do', () => {
  const texts = (['unsigned', 'changed', 'other-device'] as const).map((trust) => {
    const world = new World().offered();
    world.trust = trust;
    world.answered();
    assert.deepEqual([world.say().phase, world.say().retry], ['refused', true]);
    assert.match(world.say().hint, /for a new link/);
    assert.match(world.say().hint, /no picture is shown/i);
    return world.say().text;
  });
  assert.equal(new Set(texts).size, 3);
  assert.match(texts[1] ?? '', /Someone between you and Front door has changed its answer/);
  assert.match(texts[2] ?? '', /another key than this link/);
});

test('unauthorized: a link without an invitation is not told that it was withdrawn', () => {
  const world = new World().offered();
  world.down({ type: 'error', session: SESSION, code: 'unauthorized', message: '' });
  const names = { camera: 'Front door', broker: 'host:9001' };
  const { text, hint } = say(world.state, names, world.now);
  assert.match(text, /only be watched with a link/);
  assert.match(hint, /end was cut off.* sudo porthole grant NAME/);
  assert.match(say(world.state, { ...names, hasGrant: true }, world.now).hint, /withdrawn/);
});

test('a page without an invitation says whom to ask, and what the owner does', () => {
  const said = sayUninvited('Front door');
  assert.deepEqual([said.phase, said.code, said.retry], ['refused', 'no-invitation', false]);
  assert.match(said.text, /^Front door can only be watched with a link/);
  assert.match(said.hint, /^Ask the owner .* sudo porthole grant NAME/);
});

test('a link that cannot be judged yet is told so', () => {
  const world = new World().start();
  world.on({ type: 'broker-closed', why: 'not-yet' });
  assert.match(say(world.state, { camera: 'c', broker: 'host:9001', hasGrant: true, loginIsGrant: true }, world.now).hint, /clock is not set yet/);
  assert.match(world.say().text, /host:9001 is not ready/);
});

test('a broker that refuses the link\'s grant speaks of the link, not of user names', () => {
  const world = new World().start();
  world.on({ type: 'broker-closed', why: 'refused' });
  assert.match(say(world.state, { camera: 'c', broker: 'host:9001', hasGrant: true, loginIsGrant: true }, world.now).text, /does not accept this link/);
  assert.match(say(world.state, { camera: 'c', broker: 'host:9001', hasLogin: true }, world.now).hint, /user name or password is wrong/);
  assert.match(world.say().hint, /neither an invitation nor a user name/);
});

test('the camera\'s own broker tells an expired link from a withdrawn one', () => {
  const names = { camera: 'c', broker: 'host:9001', hasGrant: true, loginIsGrant: true, brokerIsOwn: true };
  const said = (why: 'refused' | 'ended', more: Partial<Parameters<typeof say>[1]> = {}) => {
    const world = new World().start();
    world.on({ type: 'broker-closed', why });
    return say(world.state, { ...names, ...more }, world.now);
  };
  assert.match(said('ended').text, /has expired/);
  assert.match(said('refused').hint, /withdrawn/);
  assert.doesNotMatch(said('refused').hint + said('refused').text, /expired/);
  const other = { brokerIsOwn: false };
  assert.deepEqual(said('ended', other), said('refused', other), 'another broker says it of anything');
  assert.equal(said('ended', other).code, 'broker-refused');
});

test('expired because the clock is not set reads differently from expired', () => {
  const world = new World().offered();
  world.down({ type: 'error', session: SESSION, code: 'expired', message: 'the clock of this device is not set yet' });
  assert.match(world.say().text, /cannot tell yet whether this link is still valid/);
  assert.match(world.say().hint, /The camera says: the clock of this device is not set yet\. /);
  assert.match(refusedWith('expired').text, /has expired/);
});
