// The data channel beside the picture (protocol section 6): what the device tells, and what it is asked. Everything that
// arrives is untrusted; everything that is asked is answered within ten seconds, by the device or by this file.

import type { Reply, Right } from '../camera.ts';
import { parseObject, plain } from '../core/signal.ts';
import { controlValue, number, object, parseAudio, parseCamera, type AudioState, type ControlValue, type DeviceState } from '../core/status.ts';

export const LABEL = 'porthole';
const REPLY_MS = 10_000;
/** As many as the device reads before it has answered. */
const MOST_UNANSWERED = 32;
/** What the device takes, in bytes (`a=max-message-size`). */
const LONGEST_MESSAGE = 16 * 1024;
const RIGHTS: readonly Right[] = ['view', 'control', 'snapshot', 'talk'];

/** What of an RTCDataChannel is used here. */
export type Wire = Pick<RTCDataChannel, 'readyState' | 'send' | 'close'> & {
  onopen: ((event: Event) => void) | null;
  onclose: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
};

/** What is told once a second of one's own session. */
export interface Told {
  encoder?: string;
  bitrateKbps?: number;
  ceilingKbps?: number;
  rights?: ReadonlySet<Right>;
  audio?: AudioState;
  /** At the device's microphone, in dB below full scale. */
  audioLevelDb?: number;
}

export interface ChannelEvents {
  /** It has opened or closed. */
  changed(): void;
  stats(told: Told): void;
  camera(camera: Partial<DeviceState>): void;
  control(name: string, value: ControlValue): void;
  /** Who speaks to the device's loudspeaker. */
  talk(news: TalkNews): void;
}

export type TalkNews = (typeof TALK_NEWS)[number];
const TALK_NEWS = ['free', 'you', 'busy'] as const;

export class Channel {
  private readonly waiting = new Map<number, (reply: Reply) => void>();
  private last = 0;

  constructor(
    private readonly wire: Wire,
    private readonly events: ChannelEvents,
    private readonly replyMs = REPLY_MS,
  ) {
    wire.onopen = () => events.changed();
    wire.onclose = () => this.onClose();
    wire.onmessage = ({ data }) => {
      if (typeof data === 'string') this.onMessage(data);
    };
  }

  get isOpen(): boolean {
    return this.wire.readyState === 'open';
  }

  set(name: string, value: unknown): Promise<Reply> {
    return this.ask({ type: 'set', name, value: value ?? null });
  }

  do(action: string, fields: Record<string, unknown> = {}): Promise<Reply> {
    return this.ask({ ...fields, type: 'do', action });
  }

  close(): void {
    this.wire.close();
    this.onClose();
  }

  private ask(message: Record<string, unknown>): Promise<Reply> {
    if (!this.isOpen) return Promise.resolve(NOT_CONNECTED);
    if (this.waiting.size >= MOST_UNANSWERED) return Promise.resolve(refused('rate-limited', 'Too much was asked at once; wait a second.'));
    const id = (this.last += 1);
    try {
      const text = JSON.stringify({ ...message, id });
      if (new TextEncoder().encode(text).length > LONGEST_MESSAGE) return Promise.resolve(refused('too-large', 'That is more than the camera takes.'));
      this.wire.send(text);
    } catch (error) {
      // A value that is no JSON, or a channel that closes at this moment.
      return Promise.resolve(refused('bad-message', plain(String(error))));
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.settle(id, refused('no-answer', 'The camera did not answer within ten seconds.')), this.replyMs);
      this.waiting.set(id, (reply) => {
        clearTimeout(timer);
        resolve(reply);
      });
    });
  }

  private settle(id: number, reply: Reply): void {
    const settle = this.waiting.get(id);
    this.waiting.delete(id);
    settle?.(reply);
  }

  private onClose(): void {
    for (const id of [...this.waiting.keys()]) this.settle(id, NOT_CONNECTED);
    this.events.changed();
  }

  private onMessage(text: string): void {
    const json = parseObject(text);
    switch (json?.['type']) {
      case 'reply':
        return this.settle(number(json['id']) ?? 0, parseReply(json));
      case 'stats':
        return this.events.stats(parseStats(json));
      case 'camera':
        return this.events.camera(parseCamera(json['camera']));
      case 'talk': {
        const news = TALK_NEWS.find((known) => known === json['state']);
        if (news) this.events.talk(news);
        return;
      }
      case 'control': {
        const value = controlValue(json['value']);
        if (typeof json['name'] === 'string' && value !== undefined) this.events.control(plain(json['name'], 64), value);
      }
    }
  }
}

function parseReply(json: Record<string, unknown>): Reply {
  const reply: Reply = { ok: json['ok'] === true };
  for (const field of ['error', 'message'] as const) if (typeof json[field] === 'string') reply[field] = plain(json[field], 500);
  return reply;
}

function parseStats(json: Record<string, unknown>): Told {
  const told: Told = {};
  const [encoder, session] = [object(json['encoder']), object(json['session'])];
  const name = plain(encoder?.['name'], 40);
  if (name) told.encoder = name;
  const ceiling = number(encoder?.['ceiling']);
  if (ceiling !== undefined) told.ceilingKbps = Math.round(ceiling / 1_000);
  const bitrate = number(session?.['bitrate']);
  if (bitrate !== undefined) told.bitrateKbps = Math.round(bitrate / 1_000);
  const audio = parseAudio(json['audio']);
  if (audio) told.audio = audio;
  const level = number(object(json['audio'])?.['level']);
  if (level !== undefined) told.audioLevelDb = level;
  if (Array.isArray(json['rights'])) told.rights = new Set(RIGHTS.filter((right) => (json['rights'] as unknown[]).includes(right)));
  return told;
}

/** What of a second's `stats` is news of the device; a new object only then. */
export function newsOf({ ceilingKbps, audio }: Told, device: DeviceState): Partial<DeviceState> | undefined {
  const news: Partial<DeviceState> = {};
  if (ceilingKbps !== undefined && ceilingKbps !== device.ceilingKbps) news.ceilingKbps = ceilingKbps;
  const on = audio?.on ?? device.audio?.on;
  const merged = audio && { ...audio, ...(on !== undefined && { on }) };
  if (merged && JSON.stringify(Object.entries(merged).sort()) !== JSON.stringify(Object.entries(device.audio ?? {}).sort())) news.audio = merged;
  return Object.keys(news).length > 0 ? news : undefined;
}

const refused = (error: string, message: string): Reply => ({ ok: false, error, message });

/** What is answered while there is no channel. */
export const NOT_CONNECTED: Reply = refused('not-connected', 'There is no connection to the camera at the moment.');
