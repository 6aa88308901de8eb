import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { afterOutcome, Pictures, retryAfter, type PictureTrouble } from '../src/net/pictures.ts';

const wait = (status: number, retryAfterS?: number, failures = 1): number =>
  afterOutcome(retryAfterS === undefined ? { got: 'refusal', status } : { got: 'refusal', status, retryAfterS }, failures, 0.5).waitMs;

test('after a picture the next one is asked for in its turn, without a word', () => {
  assert.deepEqual(afterOutcome({ got: 'picture' }, 0, 0.5), { waitMs: 1_000 });
});

test('who is told to wait waits, but not for ever', () => {
  assert.equal(wait(429, 7), 7_000);
  assert.equal(wait(503, 5), 5_000);
  assert.equal(wait(429, 0), 1_000, 'at least as long as after any failure');
  assert.equal(wait(429, 999_999), 300_000);
  assert.equal(wait(429, 1, 6), 30_000, 'the longer it goes on the less it is asked');
});

test('a right that is missing is not asked for every few seconds', () => {
  for (const [status, code] of [[401, 'unauthorized'], [403, 'forbidden'], [404, 'no-pictures']] as const) {
    assert.deepEqual(afterOutcome({ got: 'refusal', status }, 1, 0), { waitMs: 60_000, trouble: { code, retryMs: 60_000 } });
  }
  const privacy = afterOutcome({ got: 'refusal', status: 403, code: 'privacy' }, 1, 0);
  assert.equal(privacy.trouble?.code, 'privacy', 'what the device says is said');
});

test('a device out of reach is tried less and less often', () => {
  const waits = [1, 2, 3, 9].map((failures) => afterOutcome({ got: 'nothing' }, failures, 0.5).waitMs);
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 30_000]);
});

test('only whole seconds are read of a Retry-After', () => {
  assert.deepEqual(['7', ' 30 ', '', '-1', '1.5', 'Wed, 21 Oct 2026 07:28:00 GMT', '9999999', null].map(retryAfter), [7, 30, ...Array(6).fill(undefined)]);
});

type Told = Blob | PictureTrouble;

async function served(answer: (request: IncomingMessage, response: ServerResponse) => void, token: string | undefined, until: (told: Told, stop: () => void) => void): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  await new Promise<void>((done) => {
    const hear = (told: Told): void => until(told, () => { pictures.stop(); done(); });
    const pictures = new Pictures({ base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, token, onPicture: hear, onTrouble: hear });
    pictures.start();
  });
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}

test('pictures come with the token in the header, and nothing in the address', async () => {
  const asked: string[] = [];
  await served((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    response.setHeader('content-type', 'image/jpeg').end('picture');
  }, 'its-token', (told, stop) => {
    assert.ok(told instanceof Blob && told.size === 7);
    stop();
  });
  assert.deepEqual(asked, ['/snapshot.jpg Bearer its-token']);
});

test('what is no picture is said to be none', async () => {
  const answers: [(response: ServerResponse) => void, string][] = [
    [(response) => response.setHeader('content-type', 'text/html').end('<p>hello'), 'no-pictures'],
    [(response) => response.writeHead(429, { 'content-type': 'application/problem+json', 'retry-after': '9' }).end('{"code":"rate-limited"}'), 'rate-limited'],
    [(response) => response.writeHead(403, { 'content-type': 'application/problem+json' }).end('{"code":"<b>"}'), 'forbidden'],
    [(response) => response.writeHead(503, { 'content-type': 'application/problem+json' }).end('no json'), 'camera-unavailable'],
    [(response) => response.destroy(), 'unreachable'],
  ];
  for (const [answer, code] of answers) {
    await served((request, response) => {
      assert.equal(request.headers.authorization, undefined);
      answer(response);
    }, undefined, (told, stop) => {
      assert.equal((told as PictureTrouble).code, code);
      if (code === 'rate-limited') assert.equal((told as PictureTrouble).retryMs, 9_000);
      stop();
    });
  }
});
