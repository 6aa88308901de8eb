// What one session says and hears at the broker. The connection under it is shared by all sessions of this page that reach the
// same broker with the same login: `connection.ts`. `machine.ts` decides when there is a next one.

import { loginOf, toBase64Url } from '../core/access.ts';
import type { Link } from '../core/link.ts';
import { encode, type Up } from '../core/signal.ts';
import type { BrokerTrouble } from '../core/state.ts';
import { BROKER_ANSWER_MS } from '../core/timing.ts';
import { joinShared, type Connection, type End, type User } from './connection.ts';
import type { Signaling, SignalingEvents } from './signaling.ts';

const LONGEST_PAYLOAD = 64 * 1024;

const viewers = new Map<string, string>();

/**
 * The viewer id, which is the MQTT client id, of all sessions that share a connection. A fresh one for each page load: a
 * duplicated tab would copy a stored one, and two clients with one id throw each other off the broker for ever.
 */
export function viewerOf(link: Link): string {
  if (link.viewer !== undefined) return link.viewer;
  const key = keyOf(link);
  const viewer = viewers.get(key) ?? `web-${toBase64Url(crypto.getRandomValues(new Uint8Array(12)))}`;
  viewers.set(key, viewer);
  return viewer;
}

/** By which a connection is shared. */
export function keyOf(link: Link): string {
  const { username, password } = loginOf(link);
  return JSON.stringify([link.url, username, password, link.viewer]);
}

export class Broker implements Signaling, User {
  readonly topics: readonly string[];
  private readonly prefix: string;
  private readonly up: string;
  private connection: Connection | undefined;
  private isOver = false;
  private isOpen = false;
  private probing: ReturnType<typeof setTimeout> | undefined;

  constructor(link: Link, viewer: string, session: string, private readonly events: SignalingEvents) {
    const device = `${link.root}/${link.device}`;
    this.prefix = `${device}/`;
    this.up = `${device}/signal/${viewer}/up`;
    // The device's status first, so that a retained `offline` is here before the subscription to `down` is confirmed.
    this.topics = [...['availability', 'state', 'info'].map((topic) => `${device}/${topic}`), `${device}/signal/${viewer}/down`];
    this.connection = joinShared(keyOf(link), link.url, () => ({
      clientId: viewer,
      ...loginOf(link),
      // A connection has one will, so it is that of the session which opened it. Of the others the device hears by their
      // media: it ends what has been silent for some seconds.
      will: { topic: this.up, payload: encode({ type: 'bye', session, reason: 'connection lost' }) },
    }), this);
  }

  probe(): void {
    if (this.isOver || !this.isOpen || this.probing !== undefined) return;
    this.probing = setTimeout(() => this.connection?.giveUp(), BROKER_ANSWER_MS);
    this.connection?.ping();
  }

  /** Asks for a word of the broker's, too: without one there will be no answer of the device's. */
  send(message: Up): void {
    this.probe();
    this.connection?.publish(this.up, encode(message), 1);
  }

  /** The last word of a session that ends: if it is lost the will says the same. */
  sendLast(message: Up): void {
    this.connection?.publish(this.up, encode(message), 0);
  }

  close(): void {
    this.isOver = true;
    clearTimeout(this.probing);
    this.connection?.leave(this);
  }

  /** The same for a connection that may be dead without knowing it, which is then no good for anybody. */
  renounce(): void {
    const { connection, isOver } = this;
    this.close();
    if (!isOver) connection?.giveUp();
  }

  // --- from the connection ---

  subscribed(granted: boolean): void {
    if (this.isOver) return;
    if (!granted) return this.end('not-allowed');
    this.isOpen = true;
    this.events.open();
  }

  message(topic: string, payload: string): void {
    if (this.isOver || !topic.startsWith(this.prefix) || payload.length > LONGEST_PAYLOAD) return;
    this.events.message(topic.slice(this.prefix.length), payload);
  }

  heard(): void {
    clearTimeout(this.probing);
    this.probing = undefined;
  }

  ended(end: End): void {
    this.end(troubleOf(end, this.isOpen));
  }

  private end(why: BrokerTrouble): void {
    if (this.isOver) return;
    this.close();
    this.events.closed(why);
  }
}

function troubleOf(end: End, wasOpen: boolean): BrokerTrouble {
  if (typeof end === 'object') {
    if (end.refusedWith === 3) return 'not-yet'; // not available; the built-in broker says so of a link that it cannot judge before its clock is set
    if (end.refusedWith === 4) return 'refused'; // bad user name or password
    if (end.refusedWith === 5) return 'ended'; // not authorised; the built-in broker says so of a link that has expired, and of no other
  }
  return wasOpen ? 'lost' : 'unreachable';
}
