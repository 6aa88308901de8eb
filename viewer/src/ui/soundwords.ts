// What is said of sound, in both directions: pure.

import type { Reply, Talking } from '../camera.ts';
import type { DeviceState, Info } from '../core/status.ts';
import type { Texts } from '../texts/index.ts';

/** Of the device's microphone; undefined where it has none. */
export function microphoneWords({ audio: has, features }: Info, { audio = {} }: DeviceState, { sound: t, settings }: Texts): string | undefined {
  if (!has && !features?.includes('audio')) return undefined;
  const { on, state, card, error } = audio;
  if (on === false || state === 'off') return t.off;
  const why = error ? ` ${settings.says(error)}` : '';
  if (state === 'lost') return t.lost + why;
  if (state === 'error' || why) return t.silent + why;
  return card ? t.card(card) : t.idle;
}

/** Of the device's loudspeaker; undefined where it has none. */
export function speakerWords({ features }: Info, { audio = {} }: DeviceState, { sound: t, settings }: Texts): string | undefined {
  if (!features?.includes('talk')) return undefined;
  if (audio.speakerError) return `${t.speakerSilent} ${settings.says(audio.speakerError)}`;
  return audio.speaker ? t.speaker(audio.speaker) : undefined;
}

/** Who speaks. */
export function talkWords({ state, busy }: Talking, { talk: t }: Texts): string {
  if (state === 'on') return t.on;
  if (state === 'starting') return t.starting;
  return busy ? t.busy : '';
}

/** Why somebody could not talk, or was not heard any more. */
export function troubleWords({ error, message }: Reply, { talk: t, settings }: Texts): string {
  const known = new Map(Object.entries(t.trouble)).get(error ?? '');
  // Of what does not work there the device knows more.
  if (known !== undefined && !(error === 'unsupported' && message)) return known;
  return message ? settings.says(message) : (t.trouble['no-answer'] ?? '');
}
