// What the device says about itself outside a session: `availability`, `info` and `state` (protocol section 3).

import { parseObject, plain } from './signal.ts';
import { parseTurn, type Turn } from './turn.ts';

export type Presence = 'unknown' | 'online' | 'offline';

export interface Info {
  name?: string;
  key?: string;
}

export interface DeviceState {
  /** When the device wrote it, in ms since 1970 by its own clock. */
  timeMs?: number;
  streaming?: boolean;
  camera?: string;
  /** What of turning the picture is left to viewers. */
  turn?: Turn;
}

export function parsePresence(text: string): Presence {
  return text === 'online' || text === 'offline' ? text : 'unknown';
}

export function parseInfo(text: string): Info {
  const json = parseObject(text);
  const info: Info = {};
  const name = plain(json?.['name'], 80);
  if (name) info.name = name;
  if (typeof json?.['key'] === 'string') info.key = json['key'];
  return info;
}

export function parseState(text: string): DeviceState {
  const json = parseObject(text);
  const state: DeviceState = {};
  if (!json) return state;
  const time = typeof json['time'] === 'string' ? Date.parse(json['time']) : NaN;
  if (!Number.isNaN(time)) state.timeMs = time;
  if (json['streaming'] === 'ON' || json['streaming'] === 'OFF') state.streaming = json['streaming'] === 'ON';
  const camera = (json['camera'] as { state?: unknown } | null | undefined)?.state;
  if (typeof camera === 'string') state.camera = plain(camera, 20);
  const turn = parseTurn((json['picture'] as { viewer_turn?: unknown } | null | undefined)?.viewer_turn);
  if (turn) state.turn = turn;
  return state;
}
