// Talking: the order of microphone, word and track, and everything that can come in between.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reply } from '../src/camera.ts';
import { Talker } from '../src/element/talker.ts';
import { KEPT_MS, Microphone, MicrophoneError } from '../src/net/microphone.ts';

interface FakeTrack {
  readyState: 'live' | 'ended';
  onended: (() => void) | null;
  stop(): void;
}

function fakeTrack(): FakeTrack {
  const track: FakeTrack = { readyState: 'live', onended: null, stop: () => (track.readyState = 'ended') };
  return track;
}

/** A talker whose every edge is kept in `log`, and answers what it is told to. */
function world() {
  const log: string[] = [];
  const track = fakeTrack();
  const at = {
    log, track,
    why: undefined as string | undefined,
    reply: async (): Promise<Reply> => ({ ok: true }),
    open: async (): Promise<unknown> => track,
    send: async (): Promise<void> => undefined,
  };
  const talker = new Talker({
    why: () => at.why,
    ask: (on) => (log.push(on ? 'ask' : 'give back'), on ? at.reply() : Promise.resolve({ ok: true })),
    send: (sent) => (log.push(sent ? 'send' : 'silence'), at.send()),
    microphone: { open: async () => (log.push('open'), (await at.open()) as MediaStreamTrack), rest: () => void log.push('rest'), close: () => void log.push('close') },
    changed: () => undefined,
  });
  return { ...at, at, talker };
}

const later = () => new Promise((done) => setImmediate(done));

/** A promise that is kept by hand. */
function held<Value>(): [Promise<Value>, (value: Value) => void, (error: unknown) => void] {
  let keep: (value: Value) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const promise = new Promise<Value>((resolve, reject) => ([keep, fail] = [resolve, reject]));
  return [promise, keep, fail];
}

test('the microphone, then the word, then the track; and back', async () => {
  const { talker, log } = world();
  const begun = talker.talk(true);
  assert.equal(talker.talking.state, 'starting');
  assert.equal(talker.talk(true), begun, 'once');
  assert.deepEqual(await begun, { ok: true });
  assert.deepEqual([talker.talking.state, log], ['on', ['open', 'ask', 'send']]);
  assert.deepEqual(await talker.talk(false), { ok: true });
  assert.deepEqual([talker.talking.state, log.slice(3)], ['off', ['silence', 'give back', 'rest']]);
  await talker.talk(false);
  assert.equal(log.length, 6, 'which is nothing twice');
});

test('who has no right, no connection or no loudspeaker is told so, and no microphone is opened', async () => {
  const { talker, at, log } = world();
  for (const why of ['forbidden', 'not-connected', 'unsupported']) {
    at.why = why;
    assert.equal(talker.talking.can, false);
    assert.equal((await talker.talk(true)).error, why);
    assert.deepEqual(talker.talking.trouble, { ok: false, error: why });
  }
  assert.deepEqual(log.filter((entry) => entry !== 'rest'), []);
});

test('a word that somebody else has sends nothing', async () => {
  const { talker, at, log } = world();
  talker.hear('busy');
  assert.equal(talker.talking.busy, true);
  at.reply = async () => ({ ok: false, error: 'busy', message: 'somebody else' });
  assert.equal((await talker.talk(true)).error, 'busy');
  assert.deepEqual([talker.talking.state, talker.talking.trouble?.error, log], ['off', 'busy', ['open', 'ask', 'rest']]);
  at.reply = async () => ({ ok: true });
  assert.equal((await talker.talk(true)).ok, true);
  assert.equal(talker.talking.trouble, undefined, 'of the time before');
});

test('who lets go while the browser asks for the microphone is not heard, and told that it is ready', async () => {
  const { talker, at, log } = world();
  const [opened, keep] = held<unknown>();
  at.open = () => opened;
  const begun = talker.talk(true);
  void talker.talk(false);
  keep(fakeTrack());
  assert.equal((await begun).error, 'aborted');
  assert.deepEqual([talker.talking.state, talker.talking.trouble?.error], ['off', 'ready']);
  assert.ok(!log.includes('ask') && !log.includes('send'), log.join());
});

test('who lets go while the device is asked gives the word back, and nothing is sent after that', async () => {
  const { talker, at, log } = world();
  const [asked, keep] = held<Reply>();
  at.reply = () => asked;
  const begun = talker.talk(true);
  await later();
  void talker.talk(false);
  keep({ ok: true });
  assert.equal((await begun).error, 'aborted');
  assert.deepEqual(log, ['open', 'ask', 'silence', 'give back', 'rest']);
});

test('a connection that breaks, a word that is lost and a microphone that is pulled out end it, each in words', async () => {
  const { talker, log, track } = world();
  await talker.talk(true);
  talker.lost();
  assert.deepEqual([talker.talking.state, talker.talking.trouble?.error], ['off', 'lost']);
  assert.deepEqual(log.slice(3), ['silence', 'rest'], 'nobody is there to be asked');
  await talker.talk(true);
  talker.hear('you');
  talker.hear('free'); // a pause in the network
  assert.equal(talker.talking.state, 'on');
  talker.hear('busy');
  assert.deepEqual([talker.talking.state, talker.talking.trouble?.error, talker.talking.busy], ['off', 'busy', true]);
  talker.hear('free');
  await talker.talk(true);
  track.onended?.();
  assert.deepEqual([talker.talking.state, talker.talking.trouble?.error], ['off', 'no-microphone']);
  talker.lost();
  assert.equal(talker.talking.trouble?.error, 'no-microphone', 'what was not going on is not lost');
});

test('a reconnect while the device is asked leaves nothing behind, and the next time works', async () => {
  const { talker, at, log } = world();
  const [asked, keep] = held<Reply>();
  at.reply = () => asked;
  const begun = talker.talk(true);
  await later();
  talker.lost();
  keep({ ok: false, error: 'not-connected' });
  assert.equal((await begun).error, 'aborted');
  assert.equal(talker.talking.trouble?.error, 'lost');
  at.reply = async () => ({ ok: true });
  assert.equal((await talker.talk(true)).ok, true);
  assert.equal(log.at(-1), 'send');
});

test('a browser that sends no such track, and a device that does not answer, give the word back', async () => {
  const { talker, at, log } = world();
  at.send = async () => {
    throw new TypeError('no');
  };
  assert.equal((await talker.talk(true)).error, 'unsupported');
  assert.deepEqual(log, ['open', 'ask', 'send', 'give back', 'rest']);
  at.send = async () => undefined;
  at.reply = async () => ({ ok: false, error: 'no-answer' });
  assert.equal((await talker.talk(true)).error, 'no-answer');
  assert.equal(talker.talking.state, 'off');
  assert.equal(log.filter((entry) => entry === 'give back').length, 2);
});

test('what is the same is the same object', () => {
  const { talker } = world();
  const before = talker.talking;
  assert.equal(talker.talking, before);
  talker.hear('busy');
  assert.notEqual(talker.talking, before);
});

test('the microphone is asked for once, kept for the next sentence, and closed some time after the last', async () => {
  // A clock of its own: one timer is all that there is.
  const { setTimeout: original, clearTimeout: clear } = globalThis;
  let due: { act: () => void; inMs: number } | undefined;
  const globals = globalThis as unknown as Record<string, unknown>;
  globals['setTimeout'] = (act: () => void, inMs: number) => void (due = { act, inMs });
  globals['clearTimeout'] = () => (due = undefined);
  const pass = (ms: number): void => {
    if (due && (due.inMs -= ms) <= 0) due.act();
  };
  try {
    let asked = 0;
    const tracks: FakeTrack[] = [];
    const constraints: unknown[] = [];
    const devices = {
      getUserMedia: async (wanted?: MediaStreamConstraints) => {
        asked += 1;
        constraints.push(wanted);
        const track = fakeTrack();
        tracks.push(track);
        return { getTracks: () => [track], getAudioTracks: () => [track] } as unknown as MediaStream;
      },
    };
    const microphone = new Microphone(() => devices);
    const [first, second] = await Promise.all([microphone.open(), microphone.open()]);
    assert.equal(first, second);
    assert.deepEqual(constraints, [{ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } }]);
    microphone.rest();
    pass(KEPT_MS - 1);
    assert.equal(await microphone.open(), first);
    pass(KEPT_MS);
    assert.equal(tracks[0]?.readyState, 'live', 'somebody speaks');
    microphone.rest();
    pass(KEPT_MS);
    assert.equal(tracks[0]?.readyState, 'ended');
    assert.notEqual(await microphone.open(), first);
    assert.equal(asked, 2);
    microphone.close();
    assert.equal(tracks[1]?.readyState, 'ended');
  } finally {
    globals['setTimeout'] = original;
    globals['clearTimeout'] = clear;
  }
});

test('why there is no microphone has a code for each thing that can be done about it', async () => {
  const refusing = (name: string) => new Microphone(() => ({ getUserMedia: () => Promise.reject(Object.assign(new Error(name), { name })) }));
  const code = (microphone: Microphone) => microphone.open().then(() => 'open', (error: unknown) => (error as MicrophoneError).code);
  assert.equal(await code(new Microphone(() => undefined)), 'insecure');
  assert.equal(await code(refusing('NotAllowedError')), 'denied');
  assert.equal(await code(refusing('NotFoundError')), 'no-microphone');
  assert.equal(await code(refusing('NotReadableError')), 'microphone-busy');
  const [opened, keep] = held<MediaStream>();
  const left = new Microphone(() => ({ getUserMedia: () => opened }));
  const waiting = code(left);
  left.close();
  const track = fakeTrack();
  keep({ getTracks: () => [track], getAudioTracks: () => [track] } as unknown as MediaStream);
  assert.equal(await waiting, 'no-microphone');
  assert.equal(track.readyState, 'ended', 'nobody is there any more');
});
