// WHEP as the element speaks it: what is said to the device, and what is made of its answers.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { Link } from '../src/core/link.ts';
import { parseDown } from '../src/core/signal.ts';
import { fragmentOf, fromSdp, iceServersOf, problemOf } from '../src/core/whep.ts';
import { Whep } from '../src/net/whep.ts';

const SDP = 'v=0\r\na=ice-ufrag:uf\r\na=ice-pwd:secret\r\na=mid:0\r\n';
const CANDIDATE = { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0', sdpMLineIndex: 0, usernameFragment: 'uf' };

test('a candidate becomes a fragment', () => {
  const generation = fromSdp(SDP);
  assert.deepEqual(generation, { ufrag: 'uf', pwd: 'secret', mid: '0' });
  const head = 'a=ice-ufrag:uf\r\na=ice-pwd:secret\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n';
  assert.equal(fragmentOf(generation, CANDIDATE), `${head}a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n`);
  assert.equal(fragmentOf(generation, null), `${head}a=end-of-candidates\r\n`);
});

test('refusals of HTTP are the refusals that a broker brings', () => {
  const problem = problemOf(503, '{"code":"busy","detail":"all places are taken","retryAfter":7}', '9', 's');
  assert.deepEqual(parseDown(JSON.stringify(problem)), { type: 'error', session: 's', code: 'busy', message: 'all places are taken', retryAfterS: 7 });
  for (const [status, body, retry, code, after] of [
    [429, '<html>', '12', 'rate-limited', 12], [401, '', null, 'unauthorized', undefined], [500, '{"code":7}', 'Wed, 21 Oct', 'internal', undefined],
    [502, '[]', '-1', 'internal', undefined], [503, '{"code":"<b>"}', null, 'camera-unavailable', undefined],
  ] as const) {
    const { code: found, retryAfter } = problemOf(status, body, retry, 's');
    assert.deepEqual([found, retryAfter], [code, after], `${status} ${body}`);
  }
});

test('servers are read out of links', () => {
  const header = '<stun:s.example>; rel="ice-server", <turn:t.example?transport=udp>; rel="ice-server"; username="u"; credential="a\\"b\\\\"; credential-type="password", <https://x.example>; rel="help", <http://evil>; rel="ice-server"';
  assert.deepEqual(iceServersOf(header), [
    { urls: ['stun:s.example'] }, { urls: ['turn:t.example?transport=udp'], username: 'u', credential: 'a"b\\' },
  ]);
  for (const odd of ['', '<', '<stun:a>; rel', '<stun:a', ';;;,"\\', `${'<'.repeat(9_000)}`]) assert.deepEqual(iceServersOf(odd), []);
});

interface Asked { method: string; url: string; headers: Record<string, string>; body: string }

/** A `fetch` that answers as `answer` says. */
function serve(answer: (asked: Asked) => Response | Promise<Response>): Asked[] {
  const all: Asked[] = [];
  globalThis.fetch = async (url, request = {}) => {
    const asked = { method: request.method ?? 'GET', url: String(url), headers: request.headers as Record<string, string>, body: String(request.body ?? '') };
    all.push(asked);
    return answer(asked);
  };
  return all;
}

const original = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = original;
});

const LINK: Link = { url: 'http://camera.example/whep', whep: true, token: 'TOKEN', device: 'camera', root: 'porthole', iceServers: [] };

function open(): { whep: Whep; heard: unknown[]; settled: () => Promise<void> } {
  const heard: unknown[] = [];
  const whep = new Whep(LINK, 's', { open: () => heard.push('open'), closed: (why) => heard.push(why), message: (_, text) => heard.push(parseDown(text)) });
  return { whep, heard, settled: () => new Promise((done) => setImmediate(() => setImmediate(done))) };
}

const created = (location = 'whep/SECRET'): Response => new Response('ANSWER', { status: 201, headers: { Location: location, ETag: '"one"', Link: '<stun:s.example>; rel="ice-server"' } });

test('an offer is answered, candidates follow it, and a bye ends it', async () => {
  const asked = serve(({ method }) => (method === 'POST' ? created() : new Response(null, { status: 204 })));
  const { whep, heard, settled } = open();
  whep.send({ type: 'offer', session: 's', sdp: SDP });
  whep.send({ type: 'candidate', session: 's', candidate: CANDIDATE }); // before there is anywhere to say it
  await settled();
  assert.deepEqual(heard, ['open', { type: 'answer', session: 's', sdp: 'ANSWER', iceServers: [{ urls: ['stun:s.example'] }] }]);
  whep.send({ type: 'candidate', session: 's', candidate: null });
  await settled();
  whep.close();
  assert.deepEqual(asked.map(({ method, url }) => `${method} ${url}`), [
    'POST http://camera.example/whep', 'PATCH http://camera.example/whep/SECRET', 'PATCH http://camera.example/whep/SECRET', 'DELETE http://camera.example/whep/SECRET',
  ]);
  assert.equal(asked[0]!.headers['Authorization'], 'Bearer TOKEN');
  assert.deepEqual([asked[1]!.headers['Authorization'], asked[1]!.headers['If-Match']], [undefined, '"one"']);
  assert.match(asked[1]!.body, /a=candidate:1 /);
  assert.match(asked[2]!.body, /end-of-candidates/);
  whep.send({ type: 'offer', session: 's', sdp: SDP });
  await settled();
  assert.equal(asked.length, 4, 'over is over');
});

test('a session that was given up while it was made is ended', async () => {
  let answer: (response: Response) => void = () => undefined;
  const asked = serve(({ method }) => (method === 'POST' ? new Promise<Response>((done) => (answer = done)) : new Response(null, { status: 200 })));
  const { whep, heard, settled } = open();
  whep.send({ type: 'offer', session: 's', sdp: SDP });
  await settled();
  whep.close();
  answer(created());
  await settled();
  assert.deepEqual(asked.map(({ method }) => method), ['POST', 'DELETE']);
  assert.deepEqual(heard, ['open']);
});

test('what cannot be reached, and what is refused, is said as of a broker', async () => {
  serve(() => Promise.reject(new TypeError('Failed to fetch')));
  const lost = open();
  lost.whep.send({ type: 'offer', session: 's', sdp: SDP });
  await lost.settled();
  assert.deepEqual(lost.heard, ['open', 'unreachable']);

  serve(() => new Response('{"code":"expired","detail":"it has ended"}', { status: 401 }));
  const refused = open();
  refused.whep.send({ type: 'offer', session: 's', sdp: SDP });
  await refused.settled();
  assert.deepEqual(refused.heard, ['open', { type: 'error', session: 's', code: 'expired', message: 'it has ended' }]);
});

test('no other host is told the way to a session', async () => {
  const asked = serve(() => created('https://evil.example/whep/SECRET'));
  const { whep, settled } = open();
  whep.send({ type: 'offer', session: 's', sdp: SDP });
  await settled();
  whep.send({ type: 'candidate', session: 's', candidate: CANDIDATE });
  await settled();
  whep.close();
  assert.deepEqual(asked.map(({ method }) => method), ['POST']);
});
