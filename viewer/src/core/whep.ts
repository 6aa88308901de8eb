// What WHEP says in its own ways, made into signal messages and back. Pure.

import { parseIceServers, type IceServer } from './link.ts';
import type { Candidate, Refusal } from './signal.ts';
import { parseObject, ufragOf } from './signal.ts';

/** Of an offer: what a fragment of it has to name (RFC 8840). */
export interface Generation {
  ufrag: string;
  pwd: string;
  mid: string;
}

export function fromSdp(sdp: string): Generation {
  const line = (name: string): string => new RegExp(`^a=${name}:(\\S+)`, 'm').exec(sdp)?.[1] ?? '';
  return { ufrag: ufragOf(sdp) ?? '', pwd: line('ice-pwd'), mid: line('mid') || '0' };
}

/** One candidate, or `null` for their end, as `application/trickle-ice-sdpfrag`. */
export function fragmentOf({ ufrag, pwd, mid }: Generation, candidate: Candidate | null): string {
  const line = candidate === null || candidate.candidate === '' ? 'end-of-candidates' : candidate.candidate.replace(/^a=/, '');
  const lines = [`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`, 'm=video 9 UDP/TLS/RTP/SAVPF 0', `a=mid:${candidate?.sdpMid ?? mid}`, `a=${line}`];
  return `${lines.join('\r\n')}\r\n`;
}

/** By what a refusal without a code of its own is known. */
const BY_STATUS: Record<number, string> = {
  400: 'bad-offer', 401: 'unauthorized', 403: 'forbidden', 404: 'no-session', 406: 'no-h264', 413: 'too-large', 429: 'rate-limited', 503: 'camera-unavailable',
};

/** What a broker would have brought in place of an answer of HTTP that is no success. */
export function problemOf(status: number, body: string, retryAfter: string | null, session: string): Omit<Refusal, 'retryAfterS'> & { retryAfter?: number } {
  const json = parseObject(body) ?? {};
  const code = typeof json['code'] === 'string' && /^[a-z0-9-]{1,40}$/.test(json['code']) ? json['code'] : (BY_STATUS[status] ?? 'internal');
  const message = typeof json['detail'] === 'string' ? json['detail'] : '';
  const seconds = [json['retryAfter'], retryAfter !== null && /^\d{1,6}$/.test(retryAfter.trim()) ? Number(retryAfter) : undefined].find((value) => typeof value === 'number');
  return { type: 'error', session, code, message, ...(typeof seconds === 'number' && { retryAfter: seconds }) };
}

/** The STUN and TURN servers of a `Link` header, in which several have become one. */
export function iceServersOf(header: string): IceServer[] {
  const servers: { urls: string; username?: string; credential?: string }[] = [];
  for (const [, url = '', parameters = ''] of header.slice(0, 8_192).matchAll(/<([^<>]*)>((?:\s*;\s*[a-z-]+=(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)/gi)) {
    const values = new Map([...parameters.matchAll(/([a-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/gi)].map(([, name = '', quoted, plain]) => [name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '']));
    if (values.get('rel') !== 'ice-server') continue;
    const [username, credential] = [values.get('username'), values.get('credential')];
    servers.push({ urls: url, ...(username !== undefined && { username }), ...(credential !== undefined && { credential }) });
  }
  return parseIceServers(servers) ?? [];
}
