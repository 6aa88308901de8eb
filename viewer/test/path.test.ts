// What happens when this machine's address changes and nobody says so: the picture's path and the broker connection die silently.

import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { Broker } from '../src/net/broker.ts';
import type { Link } from '../src/core/link.ts';
import type { BrokerTrouble } from '../src/core/state.ts';
import './socket.ts';
import { did, World } from './world.ts';

const ice = (world: World, state: RTCPeerConnectionState) => world.on({ type: 'ice', attempt: world.attempt, state });

test('a path that has died is given up 4 s after its last frame, whenever the browser says so', () => {
  const world = new World().live(20_000);
  assert.deepEqual(did(world.pass(2_750)), ['probe-broker']);
  assert.deepEqual(did(ice(world, 'disconnected')), ['probe-broker']);
  assert.deepEqual(did(ice(world, 'disconnected')), [], 'once');
  assert.deepEqual(did(world.pass(1_000)), []);
  assert.deepEqual(did(world.pass(250)), ['make-peer']);
});

test('a picture and a broker that fall silent together are renewed without a word of ICE', () => {
  const world = new World().live(20_000);
  assert.deepEqual(did(world.pass(1_500)), ['probe-broker']);
  assert.deepEqual(did(world.pass(1_750)), [], 'asked once');
  assert.deepEqual(did(world.on({ type: 'broker-closed', why: 'lost' })), ['make-peer']);
  assert.ok(did(world.pass(500)).includes('connect-broker'));
});

test('a broker that is lost beside a picture that goes on takes nothing from it', () => {
  const world = new World().live(20_000);
  world.pass(1_000, true);
  assert.deepEqual(did(world.on({ type: 'broker-closed', why: 'lost' })), []);
  assert.equal(world.state.call.at, 'live');
});

test('frames that go on speak for the path', () => {
  const world = new World().live(20_000);
  ice(world, 'disconnected');
  assert.deepEqual(did(world.pass(3_750, true)), []);
  ice(world, 'connected');
  assert.deepEqual(did(world.pass(10_000, true)), []);
});

test('where no frames are seen the path has its time from the word of the browser on', () => {
  const world = new World().live(20_000);
  world.on({ type: 'hidden', hidden: true });
  world.pass(30_000);
  ice(world, 'disconnected');
  assert.deepEqual(did(world.pass(3_750)), []);
  assert.deepEqual(did(world.pass(250)), ['make-peer']);
});

test('a dead broker connection that is found out does not hold the new call up', () => {
  const world = new World().live(20_000);
  world.pass(2_750);
  ice(world, 'disconnected');
  world.pass(1_250);
  world.ready();
  assert.equal(world.state.call.at, 'offered', 'into a connection that nobody hears');
  world.on({ type: 'broker-closed', why: 'lost' });
  assert.ok(did(world.pass(500)).includes('connect-broker'));
  world.on({ type: 'broker-open' });
  assert.deepEqual(did(world.ready()), ['publish-offer']);
});

/** A broker that takes a client and its subscriptions; what it does with everything else is `rest`. */
async function broker(rest: (socket: Socket, packet: Buffer) => void, test: TestContext): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let bytes = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      bytes = Buffer.concat([bytes, data]);
      for (let length = lengthOf(bytes); length !== undefined && bytes.length >= length; length = lengthOf(bytes)) {
        const packet = bytes.subarray(0, length);
        bytes = bytes.subarray(length);
        const kind = packet[0]! >> 4;
        if (kind === 1) socket.write(Buffer.from([0x20, 2, 0, 0]));
        else if (kind === 8) socket.write(granted(packet));
        else rest(socket, packet);
      }
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as { port: number };
  test.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return port;
}

/** The answer to a short subscription: QoS 1 for each of its topics. */
function granted(packet: Buffer): Buffer {
  let topics = 0;
  for (let at = 4; at < packet.length; at += 3 + packet.readUInt16BE(at)) topics += 1;
  return Buffer.from([0x90, 2 + topics, packet[2]!, packet[3]!, ...Array<number>(topics).fill(1)]);
}

/** How long the first packet is, once that can be read (MQTT 3.1.1 section 2.2.3). */
function lengthOf(bytes: Buffer): number | undefined {
  let length = 0;
  for (let at = 1; at < Math.min(bytes.length, 5); at += 1) {
    length += (bytes[at]! & 0x7f) * 128 ** (at - 1);
    if (bytes[at]! < 0x80) return length + at + 1;
  }
  return undefined;
}

function connect(port: number, opened: (broker: Broker) => void): Promise<BrokerTrouble> {
  const link: Link = { url: `ws://127.0.0.1:${port}`, device: 'd', root: 'porthole', iceServers: [] };
  return new Promise((closed) => {
    const broker: Broker = new Broker(link, 'viewer', 'session', { open: () => opened(broker), closed, message: () => undefined });
  });
}

test('a broker that says nothing to a message, or to the question whether it is there, is given up', async (context) => {
  const silent = await broker(() => undefined, context);
  for (const ask of [(of: Broker) => of.probe(), (of: Broker) => of.send({ type: 'bye', session: 'session' })]) {
    assert.equal(await connect(silent, ask), 'lost');
  }
});

test('one that answers stays', async (context) => {
  let pings = 0;
  const there = await broker((socket, packet) => {
    if (packet[0]! >> 4 !== 12) return;
    socket.write(Buffer.from([0xd0, 0]));
    pings += 1;
    // Over because this end says so, and by then each question was answered.
    if (pings === 3) setTimeout(() => socket.destroy(), 2_500);
    else setTimeout(() => client?.probe(), 10);
  }, context);
  let client: Broker | undefined;
  const before = Date.now();
  assert.equal(await connect(there, (of) => ((client = of), of.probe())), 'lost');
  assert.equal(pings, 3);
  assert.ok(Date.now() - before > 2_400, 'not given up before it went');
});
