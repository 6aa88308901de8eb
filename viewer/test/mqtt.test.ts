// The MQTT packets, against another implementation, and against whatever else a broker may send.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqttPacket, { type Packet as OtherPacket } from 'mqtt-packet';
import * as mqtt from '../src/net/mqtt.ts';

/** What the other implementation reads in our bytes. */
function understood(bytes: Uint8Array): Record<string, unknown> {
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  const packets: OtherPacket[] = [];
  parser.on('packet', (packet: OtherPacket) => packets.push(packet));
  parser.parse(Buffer.from(bytes));
  assert.equal(packets.length, 1);
  return packets[0] as unknown as Record<string, unknown>;
}

const written = (packet: object): Uint8Array => new Uint8Array(mqttPacket.generate(packet as OtherPacket, { protocolVersion: 4 }));
const read = (bytes: Uint8Array): mqtt.Packet[] | undefined => new mqtt.PacketReader().read(bytes);

function has(packet: Record<string, unknown>, fields: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(fields)) assert.deepEqual(packet[name], value, name);
}

test('what is sent is understood', () => {
  const will = { topic: 'porthole/d/signal/v/up', payload: '{"type":"bye"}' };
  const connect = understood(mqtt.connect({ clientId: 'web-1', username: 'gränt', password: 'p', will }, 20));
  has(connect, { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'web-1', keepalive: 20, username: 'gränt', password: Buffer.from('p') });
  has(connect['will'] as Record<string, unknown>, { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: false });
  const bare = understood(mqtt.connect({ clientId: 'web-1' }, 20));
  has(bare, { username: undefined, password: undefined, will: undefined });
  has(understood(mqtt.connect({ clientId: 'x', password: 'p' }, 20)), { username: '', password: Buffer.from('p') });

  const long = 'ä'.repeat(9_000);
  has(understood(mqtt.publish('a/b', long, 513)), { cmd: 'publish', topic: 'a/b', payload: Buffer.from(long), qos: 1, messageId: 513, retain: false, dup: false });
  has(understood(mqtt.publish('a/b', '')), { cmd: 'publish', qos: 0, payload: Buffer.alloc(0) });
  has(understood(mqtt.puback(7)), { cmd: 'puback', messageId: 7 });
  has(understood(mqtt.unsubscribe(65_535, ['a', 'b'])), { cmd: 'unsubscribe', messageId: 65_535, unsubscriptions: ['a', 'b'] });
  has(understood(mqtt.PINGREQ), { cmd: 'pingreq' });
  has(understood(mqtt.DISCONNECT), { cmd: 'disconnect' });
  const subscriptions = (understood(mqtt.subscribe(2, ['a', 'b/c']))['subscriptions'] as { topic: string; qos: number }[]).map(({ topic, qos }) => [topic, qos]);
  assert.deepEqual(subscriptions, [['a', 1], ['b/c', 1]]);
});

test('what a broker says is understood, in whatever pieces it comes', () => {
  const said: [object, mqtt.Packet][] = [
    [{ cmd: 'connack', returnCode: 5, sessionPresent: false }, { type: 'connack', code: 5 }],
    [{ cmd: 'publish', topic: 'a/ü', payload: 'x'.repeat(300), qos: 1, messageId: 9, retain: true, dup: true }, { type: 'publish', topic: 'a/ü', payload: 'x'.repeat(300), qos: 1, id: 9 }],
    [{ cmd: 'publish', topic: 'a', payload: '', qos: 0 }, { type: 'publish', topic: 'a', payload: '', qos: 0, id: 0 }],
    [{ cmd: 'puback', messageId: 300 }, { type: 'puback', id: 300 }],
    [{ cmd: 'suback', messageId: 2, granted: [1, 128] }, { type: 'suback', id: 2, codes: [1, 128] }],
    [{ cmd: 'unsuback', messageId: 3 }, { type: 'unsuback', id: 3 }],
    [{ cmd: 'pingresp' }, { type: 'pingresp' }],
  ];
  const bytes = Buffer.concat(said.map(([packet]) => written(packet)));
  const expected = said.map(([, packet]) => packet);
  assert.deepEqual(read(new Uint8Array(bytes)), expected);
  for (const size of [1, 2, 3, 7, 100]) {
    const reader = new mqtt.PacketReader();
    const got: mqtt.Packet[] = [];
    for (let at = 0; at < bytes.length; at += size) got.push(...reader.read(new Uint8Array(bytes.subarray(at, at + size)))!);
    assert.deepEqual(got, expected, `${size} at a time`);
  }
});

test('a megabyte of the shortest packets, or of one packet in small pieces, is copied a few times at most', () => {
  let copied = 0;
  const { set, slice } = Uint8Array.prototype;
  Uint8Array.prototype.set = function (from: ArrayLike<number>, at?: number) { copied += from.length; return set.call(this, from, at); };
  Uint8Array.prototype.slice = function (start?: number, end?: number) { const made = slice.call(this, start, end); copied += made.length; return made; };
  try {
    const megabyte = 1024 * 1024;
    const short = new Uint8Array(megabyte).map((_, at) => (at % 2 === 0 ? 0xd0 : 0));
    assert.equal(read(short)?.length, megabyte / 2);
    assert.ok(copied <= 3 * megabyte, `${copied} bytes`);
    copied = 0;
    const long = mqtt.publish('t', 'x'.repeat(megabyte - 16));
    copied = 0;
    const reader = new mqtt.PacketReader();
    let got = 0;
    for (let at = 0; at < long.length; at += 61) got += reader.read(long.subarray(at, at + 61))!.length;
    assert.equal(got, 1);
    assert.ok(copied <= 3 * megabyte, `${copied} bytes`);
  } finally {
    Object.assign(Uint8Array.prototype, { set, slice });
  }
});

test('what is too long, or no MQTT, ends it', () => {
  const body = mqtt.LONGEST_PACKET;
  const head = Uint8Array.of(0x30, (body & 0x7f) | 0x80, ((body >> 7) & 0x7f) | 0x80, body >> 14);
  assert.equal(read(head), undefined, 'before the rest of it is here');
  const bad = [[0x30, 0xff, 0xff, 0xff, 0xff], [0x00, 0], [0x20, 1, 0], [0x20, 3, 0, 0, 0], [0x30, 1, 0], [0x30, 2, 0, 9], [0x32, 3, 0, 1, 65],
    [0x34, 5, 0, 1, 65, 0, 1], [0x36, 5, 0, 1, 65, 0, 1], [0x90, 2, 0, 1], [0xd0, 1, 0], [0x10, 0], [0xf0, 0], [0x40, 0], [0x21, 2, 0, 0]];
  for (const bytes of bad) assert.equal(read(Uint8Array.from(bytes)), undefined, bytes.join(' '));
});

test('no garbage throws', () => {
  let seed = 1;
  const byte = (): number => (seed = (seed * 48_271) % 0x7fffffff) & 0xff;
  let packets = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const length = byte() % 24;
    const bytes = Uint8Array.from({ length: length + 2 }, byte);
    if (round % 2 === 0) bytes[1] = length; // a length that fits, so that bodies are read
    packets += read(bytes)?.length ?? 0;
  }
  assert.ok(packets > 20, `${packets} of them were packets`);
});
