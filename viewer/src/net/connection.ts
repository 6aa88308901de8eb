// One MQTT connection over a WebSocket, for everybody on this page who reaches the same broker with the same login: it is
// either open or over. Those who use it decide when there is a next one; it does not reconnect by itself.

import * as mqtt from './mqtt.ts';
import { onTick } from './tick.ts';

const CONNECT_MS = 8_000;
const KEEP_ALIVE_S = 20;
/** After so long without a word of ours the broker is asked for one; it gives up at one and a half times the keep-alive. */
const PING_MS = KEEP_ALIVE_S * 750;
/** Sent bytes that have not left: a network that takes none is no connection. */
const MOST_UNSENT = 1024 * 1024;

/** How a connection ended: the code of a CONNACK that refused it, or in the way that it was. */
export type End = { refusedWith: number } | 'unreachable' | 'lost';

export interface User {
  /** What it listens to: topics whole, and the one that it cannot do without last. */
  readonly topics: readonly string[];
  /** Its topics are subscribed to; `granted` is whether the last one is. */
  subscribed(granted: boolean): void;
  /** `bytes` of what is no text. */
  message(topic: string, payload: string, bytes?: Uint8Array): void;
  /** The broker said something. */
  heard(): void;
  ended(end: End): void;
}

export class Connection {
  private readonly socket: WebSocket | undefined;
  private readonly reader = new mqtt.PacketReader();
  private readonly users = new Set<User>();
  /** Users by the id of the packet in which their last topic was asked for. */
  private readonly asked = new Map<number, User>();
  private lastId = 0;
  private isOpen = false;
  private isOver = false;
  private lastSaid = Date.now();
  /** When the broker was asked for a word that has not come yet. */
  private pingedAt: number | undefined;
  private readonly stopTicking = onTick(() => this.keepAlive());
  private readonly began = Date.now();

  constructor(url: string, connect: mqtt.Connect, private readonly onEnd: () => void) {
    const packet = mqtt.connect(connect, KEEP_ALIVE_S);
    try {
      this.socket = new WebSocket(url, 'mqtt');
    } catch (error) {
      console.warn('porthole: broker', error);
      queueMicrotask(() => this.end('unreachable'));
      return;
    }
    const { socket } = this;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.write(packet);
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.read(new Uint8Array(data));
      else this.end(this.isOpen ? 'lost' : 'unreachable');
    };
    socket.onclose = () => this.end(this.isOpen ? 'lost' : 'unreachable');
  }

  join(user: User): void {
    this.users.add(user);
    if (this.isOpen) this.subscribe(user);
  }

  /** The last one to leave closes it. */
  leave(user: User): void {
    if (!this.users.delete(user)) return;
    if (this.users.size === 0) return this.end('lost');
    const left = user.topics.filter((topic) => ![...this.users].some(({ topics }) => topics.includes(topic)));
    if (this.isOpen && left.length > 0) this.write(mqtt.unsubscribe(this.nextId(), left));
  }

  /** Over for all that use it: whoever finds it dead or doubtful finds it so for everybody. */
  giveUp(): void {
    this.end('lost');
  }

  ping(): void {
    this.pingedAt ??= Date.now();
    this.write(mqtt.PINGREQ);
  }

  publish(topic: string, payload: string, qos: 0 | 1): void {
    if (this.isOpen) this.write(mqtt.publish(topic, payload, qos === 1 ? this.nextId() : undefined));
  }

  private nextId(): number {
    return (this.lastId = (this.lastId % 0xffff) + 1);
  }

  private subscribe(user: User): void {
    // The last one apart, so that what is retained on the others is here before it is confirmed.
    const [last, others] = [user.topics.slice(-1), user.topics.slice(0, -1)];
    this.write(mqtt.subscribe(this.nextId(), others));
    const id = this.nextId();
    this.asked.set(id, user);
    this.write(mqtt.subscribe(id, last));
  }

  private read(bytes: Uint8Array): void {
    if (this.isOver) return;
    this.pingedAt = undefined;
    const packets = this.reader.read(bytes);
    for (const user of [...this.users]) user.heard();
    for (const packet of packets ?? []) this.take(packet);
    if (!packets) this.end(this.isOpen ? 'lost' : 'unreachable');
  }

  private take(packet: mqtt.Packet): void {
    if (this.isOver) return;
    switch (packet.type) {
      case 'connack':
        if (packet.code !== 0) return this.end({ refusedWith: packet.code });
        if (this.isOpen) return this.end('lost');
        this.isOpen = true;
        for (const user of [...this.users]) this.subscribe(user);
        return;
      case 'publish':
        if (packet.qos === 1) this.write(mqtt.puback(packet.id));
        for (const user of [...this.users]) user.message(packet.topic, packet.payload, packet.bytes);
        return;
      case 'suback': {
        const user = this.asked.get(packet.id);
        this.asked.delete(packet.id);
        if (user && this.users.has(user)) user.subscribed(packet.codes[0]! <= 2);
      }
    }
  }

  private keepAlive(): void {
    const now = Date.now();
    if (!this.isOpen) {
      if (now - this.began >= CONNECT_MS) this.end('unreachable');
      return;
    }
    if (this.pingedAt !== undefined && now - this.pingedAt >= KEEP_ALIVE_S * 1_000) this.end('lost');
    else if (now - this.lastSaid >= PING_MS) this.ping();
  }

  private write(bytes: Uint8Array): void {
    const { socket } = this;
    if (this.isOver || socket?.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount > MOST_UNSENT) return this.end('lost');
    this.lastSaid = Date.now();
    socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  private end(end: End): void {
    if (this.isOver) return;
    this.isOver = true;
    this.stopTicking();
    const { socket } = this;
    if (socket) {
      // So that no will is published of sessions that go on.
      if (this.isOpen && socket.readyState === WebSocket.OPEN) socket.send(mqtt.DISCONNECT as Uint8Array<ArrayBuffer>);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = null;
      socket.close();
    }
    this.onEnd();
    const users = [...this.users];
    this.users.clear();
    for (const user of users) user.ended(end);
  }
}

const shared = new Map<string, Connection>();

/** The connection that goes by `key`, or a new one, with `user` on it. */
export function joinShared(key: string, url: string, connect: () => mqtt.Connect, user: User): Connection {
  let connection = shared.get(key);
  if (!connection) {
    const made: Connection = new Connection(url, connect(), () => {
      if (shared.get(key) === made) shared.delete(key);
    });
    shared.set(key, (connection = made));
  }
  connection.join(user);
  return connection;
}
