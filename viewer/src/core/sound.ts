// What of sound is asked for in an offer, and what of a description has to say it. Pure.

import type { Right } from '../camera.ts';
import type { Info } from './status.ts';

/** The direction of the offer's audio section; undefined: there is none. */
export type SoundOffered = 'recvonly' | 'sendrecv' | undefined;

/**
 * A device that has no sound is offered none. One that has not said what it is (`info` is only heard of at a broker) is offered
 * both: it refuses what it has not. Rights are known after the first connection only, and without that of talking the answer
 * takes nothing from here; neither way is a microphone opened before somebody speaks.
 */
export function soundOffered(info: Info, rights: ReadonlySet<Right> | undefined, unknown = false): SoundOffered {
  const has = (feature: string): boolean => info.features?.includes(feature) ?? false;
  if (unknown || (has('talk') && rights?.has('talk') !== false)) return 'sendrecv';
  return info.audio === true || has('audio') ? 'recvonly' : undefined;
}

/** Says of each Opus in an offer that both channels are wanted: some browsers play one alone where it is not said (RFC 7587, section 6.1). */
export function withStereo(sdp: string): string {
  return [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)].reduce((text, [, type]) => (
    text.replace(new RegExp(`^a=fmtp:${type} (?!(?:[^\\r\\n]*;)?\\s*stereo=)[^\\r\\n]+`, 'm'), (line) => `${line};stereo=1`)
  ), sdp);
}

const WEIGHT = { recvonly: 1, sendrecv: 2 };

/** Whether an offer with `has` lacks something of what is wanted. */
export const lacksSound = (has: SoundOffered, wanted: SoundOffered): boolean =>
  (wanted ? WEIGHT[wanted] : 0) > (has ? WEIGHT[has] : 0);
