// The signal messages of the protocol (section 2). What arrives is untrusted: it becomes a `Down` or nothing.

import type { Auth } from './access.ts';
import { isId, parseIceServers, type IceServer } from './link.ts';

export interface Candidate {
  candidate: string;
  sdpMid: string | null;
  sdpMLineIndex: number | null;
  usernameFragment: string | null;
}

export interface Answer {
  type: 'answer';
  session: string;
  sdp: string;
  identity?: { key: string; sig: string };
  iceServers?: IceServer[];
}
export interface CandidateMessage {
  type: 'candidate';
  session: string;
  candidate: Candidate | null;
}
export interface Bye {
  type: 'bye';
  session: string;
  reason?: string;
}
export interface Refusal {
  type: 'error';
  /** Absent when the device could not tell which session the message was for. */
  session?: string;
  code: string;
  message: string;
  retryAfterS?: number;
}
export type Down = Answer | CandidateMessage | Bye | Refusal;

export interface Offer {
  type: 'offer';
  session: string;
  sdp: string;
  auth?: Auth;
}
export type Up = Offer | CandidateMessage | Bye;

const LARGEST_MESSAGE = 64 * 1024;
const DEFAULT_SESSION = 'default';

export const encode = (message: Up): string => JSON.stringify(message);

export function parseDown(text: string): Down | undefined {
  const json = parseObject(text);
  if (!json) return undefined;
  const session = json['session'] ?? DEFAULT_SESSION;
  if (!isId(session)) return undefined;
  switch (json['type']) {
    case 'answer':
      return parseAnswer(json, session);
    case 'candidate': {
      const candidate = json['candidate'];
      if (candidate === null) return { type: 'candidate', session, candidate: null };
      const parsed = parseCandidate(candidate);
      return parsed && { type: 'candidate', session, candidate: parsed };
    }
    case 'bye': {
      const bye: Bye = { type: 'bye', session };
      const reason = plain(json['reason']);
      if (reason) bye.reason = reason;
      return bye;
    }
    case 'error':
      return parseRefusal(json);
    default:
      return undefined;
  }
}

function parseAnswer(json: Record<string, unknown>, session: string): Answer | undefined {
  if (typeof json['sdp'] !== 'string' || json['sdp'] === '') return undefined;
  const answer: Answer = { type: 'answer', session, sdp: json['sdp'] };
  const identity = json['identity'] as { key?: unknown; sig?: unknown } | null | undefined;
  if (typeof identity?.key === 'string' && typeof identity.sig === 'string') {
    answer.identity = { key: identity.key, sig: identity.sig };
  }
  const iceServers = parseIceServers(json['iceServers']);
  if (iceServers) answer.iceServers = iceServers;
  return answer;
}

function parseCandidate(json: unknown): Candidate | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = json as Record<string, unknown>;
  if (typeof candidate !== 'string' || candidate.length > 2048) return undefined;
  const mid = typeof sdpMid === 'string' ? sdpMid : null;
  const line = Number.isInteger(sdpMLineIndex) && (sdpMLineIndex as number) >= 0 ? (sdpMLineIndex as number) : null;
  return {
    candidate,
    sdpMid: mid,
    // A browser refuses a candidate that names neither; there is one media section, the first.
    sdpMLineIndex: line ?? (mid === null ? 0 : null),
    usernameFragment: typeof usernameFragment === 'string' && usernameFragment !== '' ? usernameFragment : null,
  };
}

function parseRefusal(json: Record<string, unknown>): Refusal | undefined {
  const code = json['code'];
  if (typeof code !== 'string' || !/^[a-z0-9-]{1,40}$/.test(code)) return undefined;
  const refusal: Refusal = { type: 'error', code, message: plain(json['message']) };
  if (isId(json['session'])) refusal.session = json['session'];
  const retryAfter = json['retryAfter'];
  if (typeof retryAfter === 'number' && Number.isFinite(retryAfter)) refusal.retryAfterS = retryAfter;
  return refusal;
}

/** The ICE user name fragment of a description, which tells one attempt's candidates from another's. */
export function ufragOf(sdp: string): string | undefined {
  return /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];
}

/** False for a candidate that names the user name fragment of another attempt. */
export function belongsTo(candidate: Candidate | null, ufrag: string | undefined): boolean {
  if (candidate === null || ufrag === undefined) return true;
  const named = candidate.usernameFragment ?? / ufrag (\S+)/.exec(candidate.candidate)?.[1];
  return named === undefined || named === ufrag;
}

export const offersH264 = (sdp: string): boolean => /^a=rtpmap:\d+ H264\/90000/im.test(sdp);

export function parseObject(text: string): Record<string, unknown> | undefined {
  if (text.length > LARGEST_MESSAGE) return undefined;
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Text from outside, made fit to stand in a sentence: one line, no control or direction characters, not endless. */
export function plain(text: unknown, longest = 200): string {
  if (typeof text !== 'string') return '';
  const line = text.slice(0, longest * 2).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/g, ' ').replace(/\s+/g, ' ').trim();
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}
