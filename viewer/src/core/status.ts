// What the device says about itself outside a session: `availability`, `info` and `state` (protocol section 3).
// All of it comes from outside: what has not the shape it should have counts as absent.

import { parseObject, plain } from './signal.ts';
import { parseTurn, type Turn } from './turn.ts';

export type Presence = 'unknown' | 'online' | 'offline';

/** The value of one of the camera's controls; `null` where it cannot be read. */
export type ControlValue = number | boolean | string | null;

/** One of the camera's own controls, as `info.controls` has it. */
export interface Control {
  name: string;
  type: 'int' | 'bool' | 'menu';
  min?: number;
  max?: number;
  step?: number;
  default?: number;
  /** The entries of a menu with the values that choose them, in their order. */
  menu?: { value: number; text: string }[];
  readOnly: boolean;
  /** Overridden by another control at the moment. */
  inactive: boolean;
}

/** A size that the camera can give. */
export interface Mode {
  width: number;
  height: number;
  fps: number[];
}

export interface Info {
  name?: string;
  key?: string;
  model?: string;
  version?: string;
  /** `open`: no invitation is asked for. */
  access?: 'open' | 'grants';
  audio?: boolean;
  features?: string[];
  scenes?: string[];
  controls?: Control[];
  modes?: Mode[];
}

/** The microphone and the loudspeaker, without the level, which changes all the time. */
export interface AudioState {
  /** The microphone's own switch, `set/audio`. */
  on?: boolean;
  /** The words of `state.camera`. */
  state?: string;
  card?: string;
  /** Why it gives nothing, in the device's words. */
  error?: string;
  speaker?: string;
  /** Why it plays nothing, in the device's words. */
  speakerError?: string;
}

export interface DeviceState {
  /** When the device wrote it, in ms since 1970 by its own clock. */
  timeMs?: number;
  streaming?: boolean;
  camera?: string;
  /** What of turning the picture is left to viewers. */
  turn?: Turn;
  /** The controls' values, by name. */
  controls?: Record<string, ControlValue>;
  /** The size of the picture as it is seen. */
  width?: number;
  height?: number;
  fps?: number;
  /** What the encoder may give at most, in kbit/s. */
  ceilingKbps?: number;
  /** The sound side: `state.audio`. */
  audio?: AudioState;
  /** How the picture is wanted to look: `state.picture`. */
  picture?: {
    rotate?: number;
    mirror?: boolean;
    overlay?: string;
    scene?: string;
    /** The part of the whole that is shown, as `set/crop` takes it; absent: all of it. */
    crop?: [x: number, y: number, width: number, height: number];
  };
}

type Json = Record<string, unknown>;
/** Longer lists are cut: nothing real has so many. */
const MOST_ENTRIES = 200;

export function parsePresence(text: string): Presence {
  return text === 'online' || text === 'offline' ? text : 'unknown';
}

export function parseInfo(text: string): Info {
  const json = parseObject(text);
  const info: Info = {};
  if (!json) return info;
  for (const field of ['name', 'model', 'version'] as const) {
    const value = plain(json[field], 80);
    if (value) info[field] = value;
  }
  if (typeof json['key'] === 'string') info.key = json['key'];
  if (json['access'] === 'open' || json['access'] === 'grants') info.access = json['access'];
  if (typeof json['audio'] === 'boolean') info.audio = json['audio'];
  for (const field of ['features', 'scenes'] as const) {
    if (Array.isArray(json[field])) info[field] = list(json[field]).map((entry) => plain(entry, 80)).filter((entry) => entry !== '');
  }
  if (Array.isArray(json['controls'])) info.controls = list(json['controls']).map(parseControl).filter((control) => control !== undefined);
  const camera = object(json['camera']);
  if (Array.isArray(camera?.['modes'])) info.modes = list(camera['modes']).map(parseMode).filter((mode) => mode !== undefined);
  return info;
}

function parseControl(json: unknown): Control | undefined {
  const source = object(json);
  const { name, type } = source ?? {};
  if (!source || typeof name !== 'string' || !/^[a-z0-9_]{1,64}$/.test(name)) return undefined;
  if (type !== 'int' && type !== 'bool' && type !== 'menu') return undefined;
  const control: Control = { name, type, readOnly: source['read_only'] === true, inactive: source['inactive'] === true };
  for (const field of ['min', 'max', 'step', 'default'] as const) {
    const value = number(source[field]);
    if (value !== undefined) control[field] = value;
  }
  const menu = object(source['menu']);
  if (menu) {
    const entries = Object.entries(menu).slice(0, MOST_ENTRIES);
    control.menu = entries.map(([value, text]) => ({ value: Number(value), text: plain(text, 80) })).filter(({ value }) => Number.isFinite(value));
  }
  return control;
}

function parseMode(json: unknown): Mode | undefined {
  const source = object(json);
  const [width, height] = [number(source?.['width']), number(source?.['height'])];
  if (width === undefined || height === undefined) return undefined;
  return { width, height, fps: list(source?.['fps']).map(number).filter((fps) => fps !== undefined) };
}

export function parseState(text: string): DeviceState {
  const json = parseObject(text);
  const state: DeviceState = {};
  if (!json) return state;
  const time = typeof json['time'] === 'string' ? Date.parse(json['time']) : NaN;
  if (!Number.isNaN(time)) state.timeMs = time;
  if (json['streaming'] === 'ON' || json['streaming'] === 'OFF') state.streaming = json['streaming'] === 'ON';
  const picture = object(json['picture']);
  const turn = parseTurn(picture?.['viewer_turn']);
  if (turn) state.turn = turn;
  if (picture) state.picture = parsePicture(picture);
  const controls = object(json['controls']);
  if (controls) state.controls = parseControls(controls);
  const audio = parseAudio(json['audio']);
  if (audio) state.audio = audio;
  const ceiling = number(object(json['encoder'])?.['ceiling']);
  if (ceiling !== undefined) state.ceilingKbps = Math.round(ceiling / 1_000);
  return { ...state, ...parseCamera(json['camera']) };
}

/** `state.camera`, which the data channel tells too. */
export function parseCamera(json: unknown): Pick<DeviceState, 'camera' | 'width' | 'height' | 'fps'> {
  const source = object(json);
  const camera: ReturnType<typeof parseCamera> = {};
  if (typeof source?.['state'] === 'string') camera.camera = plain(source['state'], 20);
  for (const field of ['width', 'height', 'fps'] as const) {
    const value = number(source?.[field]);
    if (value !== undefined) camera[field] = value;
  }
  return camera;
}

/** `state.audio`, which the channel's `stats` have, too. */
export function parseAudio(json: unknown): AudioState | undefined {
  const source = object(json);
  if (!source) return undefined;
  const audio: AudioState = {};
  if (source['on'] === 'ON' || source['on'] === 'OFF') audio.on = source['on'] === 'ON';
  const texts = { state: ['state', 20], card: ['card', 80], error: ['error', 300], speaker: ['speaker', 80], speaker_error: ['speakerError', 300] } as const;
  for (const [name, [field, most]] of Object.entries(texts)) {
    const text = plain(source[name], most);
    if (text) audio[field] = text;
  }
  return audio;
}

function parsePicture(picture: Json): NonNullable<DeviceState['picture']> {
  const wanted: ReturnType<typeof parsePicture> = {};
  const rotate = number(picture['rotate']);
  if (rotate !== undefined) wanted.rotate = rotate;
  if (typeof picture['mirror'] === 'boolean') wanted.mirror = picture['mirror'];
  for (const field of ['overlay', 'scene'] as const) if (typeof picture[field] === 'string') wanted[field] = plain(picture[field], 100);
  const crop = picture['crop'];
  if (Array.isArray(crop) && crop.length === 4) {
    const [x, y, width, height] = crop.map(number);
    if (x !== undefined && y !== undefined && width !== undefined && height !== undefined) wanted.crop = [x, y, width, height];
  }
  return wanted;
}

function parseControls(json: Json): Record<string, ControlValue> {
  const values = Object.entries(json).slice(0, MOST_ENTRIES).map(([name, value]) => [name, controlValue(value)] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined)) as Record<string, ControlValue>;
}

/** A control's value, or undefined for what can be none. */
export function controlValue(json: unknown): ControlValue | undefined {
  if (typeof json === 'string') return plain(json, 80);
  return json === null || typeof json === 'boolean' ? json : number(json);
}

export const object = (json: unknown): Json | undefined =>
  typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Json) : undefined;

export const number = (json: unknown): number | undefined => (typeof json === 'number' && Number.isFinite(json) ? json : undefined);

const list = (json: unknown): unknown[] => (Array.isArray(json) ? (json as unknown[]).slice(0, MOST_ENTRIES) : []);
