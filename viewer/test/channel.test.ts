// The browser's side of the data channel: requests and their answers, and what is made of what arrives.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, type ChannelEvents, type Wire } from '../src/net/channel.ts';

class FakeWire implements Wire {
  readyState: RTCDataChannelState = 'open';
  readonly sent: Record<string, unknown>[] = [];
  onopen: Wire['onopen'] = null;
  onclose: Wire['onclose'] = null;
  onmessage: Wire['onmessage'] = null;
  send(data: unknown): void {
    this.sent.push(JSON.parse(data as string) as Record<string, unknown>);
  }
  close(): void {
    this.readyState = 'closed';
  }
  say(data: unknown): void {
    this.onmessage?.({ data: typeof data === 'string' || data instanceof ArrayBuffer ? data : JSON.stringify(data) } as MessageEvent);
  }
}

function open(replyMs = 10_000): { wire: FakeWire; channel: Channel; heard: unknown[] } {
  const heard: unknown[] = [];
  const events: ChannelEvents = {
    changed: () => heard.push('changed'),
    stats: (told) => heard.push(told),
    camera: (camera) => heard.push(camera),
    control: (name, value) => heard.push([name, value]),
    talk: (news) => heard.push(news),
  };
  const wire = new FakeWire();
  return { wire, channel: new Channel(wire, events, replyMs), heard };
}

test('each request gets its own answer, in whatever order they come', async () => {
  const { wire, channel } = open();
  const [first, second] = [channel.set('bitrate', 900), channel.do('warm', { seconds: 20, type: 'evil', id: 9 })];
  assert.deepEqual(wire.sent, [
    { type: 'set', name: 'bitrate', value: 900, id: 1 },
    { seconds: 20, type: 'do', action: 'warm', id: 2 },
  ]);
  wire.say({ type: 'reply', id: 2, ok: false, error: 'forbidden', message: 'it needs control' });
  wire.say({ type: 'reply', id: 1, ok: true });
  assert.deepEqual(await first, { ok: true });
  assert.deepEqual(await second, { ok: false, error: 'forbidden', message: 'it needs control' });
});

test('no answer, a closed channel and too much are answered here', async () => {
  const { wire, channel } = open(1);
  assert.equal((await channel.set('bitrate', 1)).error, 'no-answer');
  assert.equal((await channel.set('overlay', 'x'.repeat(16 * 1024))).error, 'too-large');
  const loop: Record<string, unknown> = {};
  loop['self'] = loop;
  assert.equal((await channel.do('warm', loop)).error, 'bad-message');
  const many = Array.from({ length: 33 }, () => channel.do('keyframe'));
  assert.equal((await many[32])?.error, 'rate-limited');
  const waiting = many[0]!;
  wire.readyState = 'closed';
  wire.onclose?.({} as Event);
  assert.equal((await waiting).error, 'not-connected');
  assert.equal((await channel.set('bitrate', 1)).error, 'not-connected');
});

test('what the device tells becomes what it should be', () => {
  const { wire, heard } = open();
  wire.say({ type: 'stats', encoder: { name: 'x264enc', ceiling: 2_490_000 }, session: { bitrate: 2_405_010 }, rights: ['view', 'control', 'fly'] });
  wire.say({ type: 'camera', camera: { state: 'live', width: 1280, height: 720, fps: 29.9 } });
  wire.say({ type: 'control', name: 'brightness', value: 7 });
  wire.say({ type: 'stats', audio: { state: 'live', card: 'USB', level: -31.5, peak: -20, error: null } });
  ['free', 'you', 'busy', 'loud', null].forEach((state) => wire.say({ type: 'talk', state }));
  assert.deepEqual(heard, [
    { encoder: 'x264enc', ceilingKbps: 2490, bitrateKbps: 2405, rights: new Set(['view', 'control']) },
    { camera: 'live', width: 1280, height: 720, fps: 29.9 },
    ['brightness', 7],
    { audio: { state: 'live', card: 'USB' }, audioLevelDb: -31.5 },
    'free', 'you', 'busy',
  ]);
});

test('nothing that arrives can throw', () => {
  const { wire, heard } = open();
  const odd: unknown[] = ['', '{', 'null', '[]', '{"type":"reply"}', { type: 'reply', id: {} }, new ArrayBuffer(8), { type: 'control', name: 7 },
    { type: 'control', name: 'a', value: {} }, 'x'.repeat(100_000)];
  odd.forEach((message) => wire.say(message));
  assert.deepEqual(heard, []);
  wire.say({ type: 'stats', encoder: 7, session: null, rights: 'all' });
  wire.say({ type: 'camera', camera: [] });
  assert.deepEqual(heard, [{}, {}]);
});
