// A machine with a clock of its own, and the common ways to bring it somewhere.

import assert from 'node:assert/strict';
import type { Trust } from '../src/core/access.ts';
import { Machine } from '../src/core/machine.ts';
import type { Candidate, Down } from '../src/core/signal.ts';
import type { Action, Event } from '../src/core/state.ts';
import { say, type Say } from '../src/core/words.ts';

export const SESSION = 'S';
export const sdp = (ufrag: string): string => `v=0\r\na=ice-ufrag:${ufrag}\r\n`;
export const candidate = (ufrag: string): Candidate => ({ candidate: 'candidate:1', sdpMid: '0', sdpMLineIndex: 0, usernameFragment: ufrag });

export class World {
  now = 1_000;
  /** What every answer is judged to be. */
  trust: Trust = 'unchecked';
  judged = 0;
  readonly machine = new Machine(SESSION, () => ((this.judged += 1), this.trust), () => 0.5);
  actions: Action[] = [];

  get state() {
    return this.machine.state;
  }
  get attempt(): number {
    return this.state.attempt.id;
  }

  /** One event; gives the actions that came out. */
  on(event: Event): Action[] {
    const actions = this.machine.on(event, this.now);
    this.actions.push(...actions);
    return actions;
  }

  down(message: Down): Action[] {
    return this.on({ type: 'signal', message });
  }

  /** Lets time go by with ticks; with `frames` the picture runs meanwhile. */
  pass(ms: number, frames = false): Action[] {
    const from = this.actions.length;
    for (let left = ms; left > 0; left -= 250) {
      this.now += Math.min(250, left);
      if (frames) this.frame();
      this.on({ type: 'tick' });
    }
    return this.actions.slice(from);
  }

  frame(): void {
    const { call } = this.state;
    this.on({ type: 'frames', attempt: this.attempt, count: (call.at === 'live' ? call.frames : 0) + 5 });
  }

  start(): this {
    this.on({ type: 'start' });
    return this;
  }

  ready(): Action[] {
    return this.on({ type: 'peer-ready', attempt: this.attempt });
  }

  offered(): this {
    this.start().on({ type: 'broker-open' });
    this.ready();
    assert.equal(this.state.call.at, 'offered');
    return this;
  }

  answered(ufrag = 'U'): this {
    if (this.state.call.at !== 'offered') this.offered();
    this.down({ type: 'answer', session: SESSION, sdp: sdp(ufrag) });
    return this;
  }

  live(forMs = 0): this {
    this.answered().on({ type: 'ice', attempt: this.attempt, state: 'connected' });
    this.frame();
    if (forMs) this.pass(forMs, true);
    assert.equal(this.state.call.at, 'live');
    return this;
  }

  say(): Say {
    return say(this.state, { camera: 'Front door', broker: 'host:9001' }, this.now);
  }
}

export const did = (actions: Action[]): string[] => actions.map((action) => action.do);
