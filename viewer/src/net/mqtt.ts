// MQTT 3.1.1 as bytes: the packets that a page sends, and those that it may be sent. Pure; what comes from a broker is
// untrusted, so garbage is told from packets and nothing throws. Sections are those of the OASIS standard.

/** The longest packet that is read, a still picture among them; a longer one ends the connection. */
export const LONGEST_PACKET = 1024 * 1024;

export interface Will {
  topic: string;
  payload: string;
}

export interface Connect {
  clientId: string;
  username?: string | undefined;
  password?: string | undefined;
  will?: Will;
}

export type Packet =
  | { type: 'connack'; code: number }
  | { type: 'publish'; topic: string; payload: string; qos: 0 | 1; id: number; bytes?: Uint8Array }
  | { type: 'puback'; id: number }
  | { type: 'suback'; id: number; codes: number[] }
  | { type: 'unsuback'; id: number }
  | { type: 'pingresp' };

export const PINGREQ = Uint8Array.of(0xc0, 0);
export const DISCONNECT = Uint8Array.of(0xe0, 0);

/** Section 3.1; always a clean session, and a will of QoS 1. */
export function connect({ clientId, username, password, will }: Connect, keepAliveS: number): Uint8Array {
  // A password without a user name cannot be said (3.1.2.9): an empty name goes with it.
  const user = username ?? (password === undefined ? undefined : '');
  const flags = 0x02 | (will ? 0x0c : 0) | (user === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40);
  const fields = [clientId, ...(will ? [will.topic, will.payload] : []), user, password].filter((text) => text !== undefined);
  return packet(0x10, [string('MQTT'), Uint8Array.of(4, flags), uint16(keepAliveS), ...fields.map(string)]);
}

/** Section 3.3; `id` of a packet with QoS 1. */
export function publish(topic: string, payload: string, id?: number): Uint8Array {
  return packet(id === undefined ? 0x30 : 0x32, [string(topic), id === undefined ? NOTHING : uint16(id), utf8(payload)]);
}

export const puback = (id: number): Uint8Array => packet(0x40, [uint16(id)]);

/** Section 3.8, with QoS 1 for each. */
export const subscribe = (id: number, filters: readonly string[]): Uint8Array =>
  packet(0x82, [uint16(id), ...filters.flatMap((filter) => [string(filter), Uint8Array.of(1)])]);

export const unsubscribe = (id: number, filters: readonly string[]): Uint8Array => packet(0xa2, [uint16(id), ...filters.map(string)]);

/** Puts the pieces in which bytes arrive together into packets. However they are cut, each byte is copied a few times at most. */
export class PacketReader {
  private pieces: Uint8Array[] = [];
  private size = 0;
  /** With fewer bytes than this there is nothing to be read. */
  private needed = 2;

  /** The packets that are whole by now, or undefined when what came is no MQTT; then nothing after it can be read either. */
  read(bytes: Uint8Array): Packet[] | undefined {
    if (bytes.length > 0) this.pieces.push(bytes);
    this.size += bytes.length;
    if (this.size < this.needed) return [];
    const all = this.pieces.length === 1 ? bytes : join(this.pieces);
    const packets: Packet[] = [];
    for (let at = 0; ; ) {
      const rest = all.subarray(at);
      const length = lengthOf(rest);
      if (length === 'bad' || (length !== undefined && length.end > LONGEST_PACKET)) return undefined;
      if (length === undefined || rest.length < length.end) {
        this.pieces = rest.length > 0 ? [rest.slice()] : [];
        this.size = rest.length;
        this.needed = length?.end ?? rest.length + 1;
        return packets;
      }
      const packet = parse(rest[0]!, rest.subarray(length.start, length.end));
      if (!packet) return undefined;
      packets.push(packet);
      at += length.end;
    }
  }
}

/** Where the body of the first packet starts and ends, once its length is there (section 2.2.3). */
function lengthOf(bytes: Uint8Array): { start: number; end: number } | 'bad' | undefined {
  let length = 0;
  for (let at = 1; at <= 4; at += 1) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 128 ** (at - 1);
    if (byte < 0x80) return { start: at + 1, end: at + 1 + length };
  }
  return 'bad';
}

function parse(head: number, body: Uint8Array): Packet | undefined {
  const id = body.length >= 2 ? (body[0]! << 8) | body[1]! : 0;
  if (head >> 4 === 3) return parsePublish(head & 0x0f, body);
  switch (head) {
    case 0x20:
      return body.length === 2 ? { type: 'connack', code: body[1]! } : undefined;
    case 0x40:
      return body.length === 2 ? { type: 'puback', id } : undefined;
    case 0x90:
      return body.length >= 3 ? { type: 'suback', id, codes: [...body.subarray(2)] } : undefined;
    case 0xb0:
      return body.length === 2 ? { type: 'unsuback', id } : undefined;
    case 0xd0:
      return body.length === 0 ? { type: 'pingresp' } : undefined;
    default:
      return undefined;
  }
}

function parsePublish(flags: number, body: Uint8Array): Packet | undefined {
  const qos = (flags >> 1) & 3;
  if (qos > 1 || body.length < 2) return undefined; // nothing here is subscribed to with more than QoS 1
  const topicEnd = 2 + ((body[0]! << 8) | body[1]!);
  const start = topicEnd + 2 * qos;
  if (body.length < start) return undefined;
  const id = qos === 1 ? (body[topicEnd]! << 8) | body[topicEnd + 1]! : 0;
  const topic = text(body.subarray(2, topicEnd));
  const fields = { type: 'publish', topic, qos: qos === 1 ? 1 : 0, id } as const;
  // The one topic whose payload is no text (docs/protocol.md, section 1).
  return topic.endsWith('/snapshot') ? { ...fields, payload: '', bytes: body.slice(start) } : { ...fields, payload: text(body.subarray(start)) };
}

function packet(head: number, parts: readonly Uint8Array[]): Uint8Array {
  const length: number[] = [];
  let left = parts.reduce((sum, part) => sum + part.length, 0);
  do {
    const rest = Math.floor(left / 128);
    length.push((left % 128) | (rest > 0 ? 0x80 : 0));
    left = rest;
  } while (left > 0);
  return join([Uint8Array.of(head, ...length), ...parts]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const NOTHING = new Uint8Array(0);
const utf8 = (of: string): Uint8Array => new TextEncoder().encode(of);
/** Bytes that are no UTF-8 become replacement characters, which no topic or message of the device has. */
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const uint16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);

/** Section 1.5.3: at most 65,535 bytes. What is longer is cut; the broker then refuses what it does not know. */
function string(of: string): Uint8Array {
  const bytes = utf8(of).subarray(0, 0xffff);
  return join([uint16(bytes.length), bytes]);
}
