// The vocabulary of the state machine: what it remembers, what it hears and what it asks for.

import type { Trust } from './access.ts';
import type { IceServer } from './link.ts';
import type { Answer, Candidate, Down, Up } from './signal.ts';
import type { DeviceState, Presence } from './status.ts';

/** Tells what an answer is worth; asked before anything is done with it. */
export type Judge = (answer: Answer) => Trust;

/** Why there is no picture: a protocol error code or one of the viewer's own, with the device's words if any. */
export interface Why {
  code: string;
  message?: string;
}

export type BrokerTrouble = 'unreachable' | 'lost' | 'refused' | 'ended' | 'not-yet' | 'not-allowed';

export type BrokerPart =
  | { at: 'idle' }
  | { at: 'connecting'; since: number }
  | { at: 'open'; since: number }
  | { at: 'waiting'; until: number; why: BrokerTrouble };

export type Call =
  | { at: 'idle' }
  | { at: 'preparing'; since: number } // the browser is making an offer
  | { at: 'ready'; since: number } // the offer waits for the broker and the device
  | { at: 'offered'; since: number } // waiting for the answer
  | { at: 'answered'; since: number } // waiting for the first picture
  | { at: 'live'; since: number; frames: number; frameAt: number; proveBy?: number; probed?: boolean }
  | { at: 'waiting'; since: number; until: number; why: Why }
  | { at: 'paused' } // hung up because nobody has looked for a while
  | { at: 'final'; why: Why };

/** What belongs to one attempt only, and is forgotten with it. */
export interface Attempt {
  id: number;
  answer?: string;
  /** The answer is the device's own for this very offer: nothing that comes later can take its place. */
  verified?: boolean;
  ufrag?: string;
  early: (Candidate | null)[];
  connected: boolean;
  downSince?: number;
}

export interface State {
  broker: BrokerPart;
  call: Call;
  attempt: Attempt;
  presence: Presence;
  device: DeviceState;
  hadPicture: boolean;
  playRefused: boolean;
  networkUp: boolean;
  hidden: boolean;
  /** Since when nobody sees the page. */
  hiddenSince?: number;
  /** Why the attempt before this one failed: what people read until something better is known. */
  lastWhy?: Why;
}

export type Event =
  | { type: 'start' }
  | { type: 'tick' }
  | { type: 'broker-open' }
  | { type: 'broker-closed'; why: BrokerTrouble }
  | { type: 'presence'; presence: Presence }
  | { type: 'device'; state: DeviceState }
  | { type: 'signal'; message: Down }
  | { type: 'peer-ready'; attempt: number }
  | { type: 'peer-changing'; attempt: number } // its offer is made anew, before anybody had it
  | { type: 'peer-outgrown'; attempt: number } // more is wanted than its offer, which is out, has
  | { type: 'peer-broken'; attempt: number; code: string }
  | { type: 'local-candidate'; attempt: number; candidate: Candidate | null }
  | { type: 'ice'; attempt: number; state: RTCPeerConnectionState }
  | { type: 'frames'; attempt: number; count: number }
  | { type: 'play'; refused: boolean }
  | { type: 'hidden'; hidden: boolean }
  | { type: 'wake'; asleepMs: number }
  | { type: 'network'; up: boolean }
  | { type: 'network-changed' }
  | { type: 'retry' }
  | { type: 'leave' };

export type Action =
  | { do: 'connect-broker' }
  | { do: 'close-broker' }
  | { do: 'probe-broker' }
  | { do: 'make-peer'; attempt: number }
  | { do: 'close-peer' }
  | { do: 'publish-offer'; attempt: number }
  | { do: 'apply-answer'; attempt: number; sdp: string; iceServers?: IceServer[] }
  | { do: 'add-candidate'; attempt: number; candidate: Candidate | null }
  | { do: 'send'; message: Up };

export function initialState(): State {
  return {
    broker: { at: 'idle' },
    call: { at: 'idle' },
    attempt: { id: 0, early: [], connected: false },
    presence: 'unknown',
    device: {},
    hadPicture: false,
    playRefused: false,
    networkUp: true,
    hidden: false,
  };
}
