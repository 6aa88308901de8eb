// How the machine's messages reach the device and back: over a broker (`broker.ts`) or over HTTP (`whep.ts`).

import type { Up } from '../core/signal.ts';
import type { BrokerTrouble } from '../core/state.ts';

export interface SignalingEvents {
  open(): void;
  closed(why: BrokerTrouble): void;
  /** `topic` is what follows `<root>/<device>/`. */
  message(topic: string, payload: string): void;
}

/** One connection, which is either open or over. */
export interface Signaling {
  /** Whether anybody is at the other end: it is over if nobody says anything for a while. */
  probe(): void;
  send(message: Up): void;
  /** The last word: nothing after it would be sent. */
  sendLast(message: Up): void;
  close(): void;
  /** Closes one that may be dead without knowing it. */
  renounce(): void;
}
