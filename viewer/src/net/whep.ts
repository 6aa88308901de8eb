// The device without a broker: signal messages as WHEP has them (protocol section 5). An offer is a POST, its answer comes with
// it; candidates are PATCHes on the session's own URL, and a bye is its DELETE. What the machine hears is what a broker would
// have brought, so that it needs to know nothing of this.

import { fromSdp, fragmentOf, iceServersOf, problemOf } from '../core/whep.ts';
import type { Link } from '../core/link.ts';
import type { Candidate, Up } from '../core/signal.ts';
import type { Signaling, SignalingEvents } from './signaling.ts';

const REQUEST_MS = 10_000;
/** Longer answers are none. */
const LONGEST_ANSWER = 64 * 1024;

export class Whep implements Signaling {
  private isOver = false;
  /** The latest offer's session: where it is steered, once that is known. */
  private resource: string | undefined;
  private etag: string | undefined;
  private sdp = '';
  private early: (Candidate | null)[] = [];
  private patching: Promise<unknown> = Promise.resolve();
  private offers = 0;

  constructor(
    private readonly link: Link,
    private readonly session: string,
    private readonly events: SignalingEvents,
  ) {
    // Nothing is connected before there is an offer.
    queueMicrotask(() => {
      if (!this.isOver) events.open();
    });
  }

  probe(): void {} // each request tells by itself whether anybody is there

  send(message: Up): void {
    if (this.isOver) return;
    switch (message.type) {
      case 'offer':
        return void this.offer(message.sdp);
      case 'candidate':
        return this.candidate(message.candidate);
      case 'bye':
        return this.end();
    }
  }

  sendLast(message: Up): void {
    this.send(message);
  }

  close(): void {
    this.end();
    this.isOver = true;
  }

  renounce(): void {
    this.close();
  }

  private async offer(sdp: string): Promise<void> {
    this.end();
    this.sdp = sdp;
    this.early = [];
    const number = (this.offers += 1);
    const isOld = (): boolean => this.isOver || number !== this.offers;
    try {
      const response = await this.ask(this.link.url, { method: 'POST', headers: { 'Content-Type': 'application/sdp', ...this.authorization() }, body: sdp });
      const text = await response.text();
      const location = response.headers.get('Location');
      const resource = response.ok && location !== null ? resolved(location, response.url || this.link.url) : undefined;
      if (isOld()) return resource === undefined ? undefined : this.delete(resource);
      if (!response.ok) return this.say(problemOf(response.status, text, response.headers.get('Retry-After'), this.session));
      if (text.length > LONGEST_ANSWER) return this.say(problemOf(0, '', null, this.session));
      this.resource = resource;
      this.etag = response.headers.get('ETag') ?? undefined;
      const iceServers = iceServersOf(response.headers.get('Link') ?? '');
      this.say({ type: 'answer', session: this.session, sdp: text, ...(iceServers.length > 0 && { iceServers }) });
      this.early.splice(0).forEach((candidate) => this.candidate(candidate));
    } catch (error) {
      if (isOld()) return;
      console.debug('porthole: whep', error);
      this.isOver = true;
      this.events.closed('unreachable');
    }
  }

  /** The device finds most ways by itself; a candidate that does not get through is no reason to end anything. */
  private candidate(candidate: Candidate | null): void {
    const { resource, etag } = this;
    if (resource === undefined) {
      if (this.early.length < 32) this.early.push(candidate);
      return;
    }
    const body = fragmentOf(fromSdp(this.sdp), candidate);
    const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', ...(etag !== undefined && { 'If-Match': etag }) };
    // One after another: they may overtake each other otherwise.
    this.patching = this.patching
      .then(() => (resource === this.resource ? this.ask(resource, { method: 'PATCH', headers, body }) : undefined))
      .catch((error: unknown) => console.debug('porthole: candidate', error));
  }

  /** Ends the session that there is, or the one that is on its way. */
  private end(): void {
    this.offers += 1;
    const { resource } = this;
    this.resource = undefined;
    if (resource !== undefined) this.delete(resource);
  }

  private delete(resource: string): void {
    // It outlives the page, which may be going away.
    fetch(resource, { method: 'DELETE', keepalive: true, cache: 'no-store' }).catch((error: unknown) => console.debug('porthole: bye', error));
  }

  private authorization(): Record<string, string> {
    return this.link.token === undefined ? {} : { Authorization: `Bearer ${this.link.token}` };
  }

  private async ask(url: string, request: RequestInit): Promise<Response> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), REQUEST_MS);
    try {
      return await fetch(url, { ...request, signal: abort.signal, cache: 'no-store', credentials: 'omit' });
    } finally {
      clearTimeout(timer);
    }
  }

  private say(message: object): void {
    this.events.message('signal', JSON.stringify(message));
  }
}

/** The session's own URL, which has to be where the offer went: its secrets are for nobody else. */
function resolved(location: string, base: string): string | undefined {
  try {
    const url = new URL(location, base);
    return url.origin === new URL(base).origin ? url.href : undefined;
  } catch {
    return undefined;
  }
}
