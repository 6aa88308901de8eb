import assert from 'node:assert/strict';
import { test } from 'node:test';
import { belongsTo, encode, offersH264, parseDown, plain, ufragOf, type Candidate } from '../src/core/signal.ts';
import { parseInfo, parsePresence, parseState } from '../src/core/status.ts';

const down = (json: unknown) => parseDown(JSON.stringify(json));
const candidate = (more: Partial<Candidate> = {}): Candidate => ({ candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0', sdpMLineIndex: 0, usernameFragment: null, ...more });

test('each message of the device is read', () => {
  assert.deepEqual(down({ type: 'answer', session: 's', sdp: 'v=0', identity: { key: 'K', sig: 'S' }, iceServers: [{ urls: 'stun:a' }], extra: 1 }), {
    type: 'answer', session: 's', sdp: 'v=0', identity: { key: 'K', sig: 'S' }, iceServers: [{ urls: ['stun:a'] }],
  });
  assert.deepEqual(down({ type: 'candidate', session: 's', candidate: candidate() }), { type: 'candidate', session: 's', candidate: candidate() });
  assert.deepEqual(down({ type: 'candidate', session: 's', candidate: null }), { type: 'candidate', session: 's', candidate: null });
  assert.deepEqual(down({ type: 'bye', session: 's', reason: 'closed' }), { type: 'bye', session: 's', reason: 'closed' });
  assert.deepEqual(down({ type: 'error', session: 's', code: 'busy', message: 'full', retryAfter: 7 }), { type: 'error', session: 's', code: 'busy', message: 'full', retryAfterS: 7 });
});

test('an absent session is the default one, except in an error', () => {
  assert.deepEqual(down({ type: 'bye' }), { type: 'bye', session: 'default' });
  assert.deepEqual(down({ type: 'error', code: 'bad-message' }), { type: 'error', code: 'bad-message', message: '' });
});

test('what is not a message is nothing, and nothing throws', () => {
  for (const text of ['', '{', 'null', '[]', '3', '"x"', '\u0000', `{"type":"answer","sdp":"${'x'.repeat(70_000)}"}`]) assert.equal(parseDown(text), undefined);
  for (const json of [
    {}, { type: 'offer', sdp: 'v=0' }, { type: 'answer' }, { type: 'answer', sdp: 5 }, { type: 'answer', sdp: '' }, { type: 'candidate' }, { type: 'candidate', candidate: 'x' },
    { type: 'candidate', candidate: { candidate: 'x'.repeat(3000) } }, { type: 'bye', session: 'a/b' }, { type: 'bye', session: 7 }, { type: 'error' },
    { type: 'error', code: '<b>' }, { type: 'answer', session: { toString: 'x' }, sdp: 'v=0' },
  ]) assert.equal(down(json), undefined, JSON.stringify(json));
});

test('a candidate that names no media section belongs to the first', () => {
  const got = down({ type: 'candidate', candidate: { candidate: 'c' } });
  assert.deepEqual(got, { type: 'candidate', session: 'default', candidate: { candidate: 'c', sdpMid: null, sdpMLineIndex: 0, usernameFragment: null } });
});

test('candidates of another attempt are told by their user name fragment', () => {
  assert.equal(ufragOf('v=0\r\nm=video\r\na=ice-ufrag:abcd\r\na=ice-pwd:x\r\n'), 'abcd');
  assert.equal(ufragOf('v=0'), undefined);
  assert.ok(belongsTo(candidate(), 'abcd'));
  assert.ok(belongsTo(null, 'abcd'));
  assert.ok(belongsTo(candidate({ usernameFragment: 'abcd' }), 'abcd'));
  assert.ok(belongsTo(candidate({ usernameFragment: 'wxyz' }), undefined));
  assert.ok(!belongsTo(candidate({ usernameFragment: 'wxyz' }), 'abcd'));
  assert.ok(!belongsTo(candidate({ candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag wxyz network-id 1' }), 'abcd'));
});

test('H.264 is found in an offer', () => {
  assert.ok(offersH264('a=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n'));
  assert.ok(!offersH264('a=rtpmap:96 VP8/90000\r\na=rtpmap:98 H265/90000\r\n'));
});

test('text from outside becomes one short line', () => {
  assert.equal(plain('a\n\tb\u0000 \u202ec'), 'a b c');
  assert.equal(plain(5), '');
  assert.equal(plain('x'.repeat(500)).length, 200);
});

test('what goes out is what the protocol says', () => {
  assert.equal(encode({ type: 'candidate', session: 's', candidate: null }), '{"type":"candidate","session":"s","candidate":null}');
  assert.equal(encode({ type: 'bye', session: 's', reason: 'left' }), '{"type":"bye","session":"s","reason":"left"}');
});

test('the status topics are read, whatever they hold', () => {
  assert.equal(parsePresence('online'), 'online');
  assert.equal(parsePresence('offline'), 'offline');
  assert.equal(parsePresence(''), 'unknown');
  assert.deepEqual(parseInfo('{"name":"Front\\ndoor","key":"K"}'), { name: 'Front door', key: 'K' });
  assert.deepEqual(parseInfo('nonsense'), {});
  assert.deepEqual(parseState('{"time":"2026-11-03T14:05:00Z","streaming":"OFF","camera":{"state":"lost"}}'), { timeMs: Date.UTC(2026, 10, 3, 14, 5), streaming: false, camera: 'lost' });
  for (const text of ['', 'null', '{"time":5,"streaming":true,"camera":7}', '{"camera":null,"time":"yesterday"}']) assert.deepEqual(parseState(text), {});
});
