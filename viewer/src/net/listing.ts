// Listens to what a broker retains of cameras, on the connection that their pictures are asked for on, and comes back by itself.

import { loginOf } from '../core/access.ts';
import type { Link } from '../core/link.ts';
import { backoffMs, REFUSED_MS } from '../core/timing.ts';
import { keyOf, viewerOf } from './broker.ts';
import { joinShared, type Connection, type End, type User } from './connection.ts';

export interface ListingEvents {
  message(topic: string, payload: string, bytes?: Uint8Array): void;
  /** The broker has told everything that it retains, or refuses to. */
  listened(granted: boolean): void;
  ended(end: End): void;
}

export class Listing implements User {
  readonly topics: readonly string[];
  private connection: Connection | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;

  /** Of the cameras with these ids, or of all that there are: `+`. */
  constructor(private readonly link: Link, devices: readonly string[], private readonly events: ListingEvents) {
    this.topics = ['snapshot', 'availability', 'info'].flatMap((leaf) => devices.map((device) => `${link.root}/${device}/${leaf}`));
    this.join();
  }

  subscribed(granted: boolean): void {
    this.failures = 0;
    this.events.listened(granted);
  }

  message(topic: string, payload: string, bytes?: Uint8Array): void {
    this.events.message(topic, payload, bytes);
  }

  heard(): void {
    // nothing is asked that would need an answer
  }

  ended(end: End): void {
    this.failures += 1;
    this.events.ended(end);
    this.timer = setTimeout(() => this.join(), typeof end === 'object' ? REFUSED_MS : backoffMs(this.failures, Math.random()));
  }

  close(): void {
    clearTimeout(this.timer);
    this.connection?.leave(this);
  }

  private join(): void {
    const { link } = this;
    this.connection = joinShared(keyOf(link), link.url, () => ({ clientId: viewerOf(link), ...loginOf(link) }), this);
  }
}
