// One second of a session out of the browser's figures: rates are what the counters gained since the second before. Pure.

import type { Sample } from '../camera.ts';

export type Figures = Record<string, number | string>;

const MOST_SAMPLES = 60;
const PATHS = ['host', 'srflx', 'prflx', 'relay'] as const;

/** The sample of `figures`, given those of one call earlier (`atMs` in each by the same clock). */
export function sampleOf(figures: Figures, atMs: number, before?: { figures: Figures; atMs: number }): Sample {
  const sample: Sample = { atMs };
  const value = (name: string): number | undefined => (typeof figures[name] === 'number' ? figures[name] : undefined);
  const gained = (name: string): number | undefined => {
    const [now, then] = [value(name), before?.figures[name]];
    return now === undefined || typeof then !== 'number' || now < then ? undefined : now - then;
  };
  const put = (name: NumericField, number: number | undefined): void => {
    if (number !== undefined && Number.isFinite(number)) sample[name] = number;
  };
  const seconds = before ? (atMs - before.atMs) / 1_000 : 0;
  const bytes = gained('bytesReceived');
  if (bytes !== undefined && seconds > 0) put('bitrateKbps', Math.round((bytes * 8) / 1_000 / seconds));
  const frames = gained('framesDecoded');
  if (frames !== undefined && seconds > 0) put('fps', Math.round((frames / seconds) * 10) / 10);
  const [lost, received] = [gained('packetsLost'), gained('packetsReceived')];
  if (lost !== undefined && received !== undefined && lost + received > 0) put('loss', lost / (lost + received));
  putAudio(put, gained, seconds);
  const rtt = value('roundTripTime');
  put('rttMs', rtt === undefined ? undefined : Math.round(rtt * 10_000) / 10);
  put('glassToGlassMs', value('glassToGlassMs'));
  put('width', value('frameWidth'));
  put('height', value('frameHeight'));
  put('framesDecoded', value('framesDecoded'));
  put('framesDropped', value('framesDropped'));
  // What goes over a relay at either end is relayed.
  const ends = [figures['localCandidateType'], figures['remoteCandidateType']];
  const path = ends.includes('relay') ? 'relay' : PATHS.find((known) => known === ends[0]);
  if (path) sample.path = path;
  const protocol = figures['protocol'];
  if (protocol === 'udp' || protocol === 'tcp') sample.protocol = protocol;
  return sample;
}

function putAudio(put: (name: NumericField, number: number | undefined) => void, gained: (name: string) => number | undefined, seconds: number): void {
  const bytes = gained('audioBytesReceived');
  if (bytes !== undefined && seconds > 0) put('audioKbps', Math.round((bytes * 8) / 1_000 / seconds));
  const [lost, received] = [gained('audioPacketsLost'), gained('audioPacketsReceived')];
  if (lost !== undefined && received !== undefined && lost + received > 0) put('audioLoss', lost / (lost + received));
  const [waited, emitted] = [gained('audioJitterBufferDelay'), gained('audioJitterBufferEmittedCount')];
  if (waited !== undefined && emitted) put('audioDelayMs', Math.round((waited / emitted) * 10_000) / 10);
}

type NumericField = { [Field in keyof Sample]-?: Sample[Field] extends number | undefined ? Field : never }[keyof Sample];

/** The last minute with one more sample; a new list, so that whoever holds the old one is not surprised. */
export const withSample = (samples: readonly Sample[], sample: Sample): readonly Sample[] => [...samples, sample].slice(-MOST_SAMPLES);
