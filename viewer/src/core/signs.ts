// A sign for each kind of trouble: lines in a square of 24, drawn within the ring. Pure.

import type { Say } from './words.ts';

const CROSSED = 'M4 4l16 16';
const SIGNS = {
  /** Waves of a wireless network. */
  network: `M5 11a10 10 0 0 1 14 0M8.5 14.5a5 5 0 0 1 7 0M12 18.5h.01${CROSSED}`,
  /** A letter box that is shut: the message broker. */
  broker: `M3 7h18v11H3zM3 7l9 7 9-7${CROSSED}`,
  /** A plug. */
  power: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4',
  camera: `M3 8h4l2-3h6l2 3h4v11H3zM12 16a3 3 0 1 0 0-6 3 3 0 0 0 0 6z${CROSSED}`,
  eye: `M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z${CROSSED}`,
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2 20a7 7 0 0 1 14 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14a7 7 0 0 1 4 6',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2',
  lock: 'M5 11h14v9H5zM8 11V8a4 4 0 0 1 8 0v3M12 15v2',
  shield: 'M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6zM12 8v5M12 16.5h.01',
  /** Two ends that do not meet. */
  way: 'M3 12h6M15 12h6M9 8v8M15 8v8',
  browser: 'M3 5h18v14H3zM3 9h18M9.5 12l5 5M14.5 12l-5 5',
  pause: 'M9 6v12M15 6v12',
  link: 'M10 14l4-4M9 7l2-2a4 4 0 0 1 6 6l-2 2M15 17l-2 2a4 4 0 0 1-6-6l2-2',
  trouble: 'M12 4l9 16H3zM12 10v4M12 17h.01',
};

const BY_CODE: Record<string, keyof typeof SIGNS> = {
  'no-webrtc': 'browser', 'no-h264': 'browser', 'no-offer': 'browser', 'bad-answer': 'browser', 'bad-offer': 'browser',
  'bad-message': 'browser', 'too-large': 'browser', 'unsupported-version': 'browser',
  busy: 'people', 'rate-limited': 'clock', clock: 'clock', expired: 'clock',
  privacy: 'eye', 'camera-unavailable': 'camera', 'no-picture': 'camera', stalled: 'camera',
  unauthorized: 'lock', forbidden: 'lock', 'no-invitation': 'lock',
  'answer-unsigned': 'shield', 'answer-changed': 'shield', 'other-device': 'shield',
  'no-answer': 'power', 'no-path': 'way', 'connection-lost': 'way', bye: 'way', 'no-session': 'way',
};

/** The path to draw; nothing where all goes well. */
export function signOf({ phase, code }: Pick<Say, 'phase' | 'code'>): string | undefined {
  switch (phase) {
    case 'network-lost':
      return SIGNS.network;
    case 'broker-waiting':
      return code === 'broker-refused' || code === 'broker-ended' || code === 'broker-not-allowed' ? SIGNS.lock : SIGNS.broker;
    case 'device-offline':
      return SIGNS.power;
    case 'stalled':
    case 'paused':
      return SIGNS.pause;
    case 'waiting':
    case 'refused':
    case 'calling':
    case 'opening': {
      if (code === undefined) return undefined;
      // A link that was damaged has a code for each flaw.
      const known = BY_CODE[code] ?? (phase === 'refused' && /^(bad|no|repeated|insecure)\b/.test(code) ? 'link' : 'trouble');
      return SIGNS[known];
    }
    default:
      return undefined;
  }
}
