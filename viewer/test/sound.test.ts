// Hearing: what is offered and when, and what is made of what the device and the browser tell of sound.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Right } from '../src/camera.ts';
import { sampleOf } from '../src/core/samples.ts';
import { lacksSound, soundOffered, withStereo } from '../src/core/sound.ts';
import { parseState } from '../src/core/status.ts';
import { canSetVolume, setSound, setVolume } from '../src/element/sounding.ts';
import { newsOf } from '../src/net/channel.ts';
import { Peer } from '../src/net/peer.ts';
import { de } from '../src/texts/de.ts';
import { en } from '../src/texts/en.ts';
import { microphoneWords, speakerWords, troubleWords } from '../src/ui/soundwords.ts';
import { did, World } from './world.ts';

test('sound is asked of who has it, both ways of who listens, and of nobody else', () => {
  const rights = (...all: Right[]): Set<Right> => new Set(all);
  assert.equal(soundOffered({}, undefined), undefined);
  assert.equal(soundOffered({ audio: false, features: ['channel'] }, rights('view', 'talk')), undefined);
  assert.equal(soundOffered({ audio: true }, undefined), 'recvonly');
  assert.equal(soundOffered({ features: ['audio'] }, rights('view', 'talk')), 'recvonly');
  assert.equal(soundOffered({ features: ['audio', 'talk'] }, undefined), 'sendrecv', 'the device knows the rights');
  assert.equal(soundOffered({ features: ['audio', 'talk'] }, rights('view')), 'recvonly');
  assert.equal(soundOffered({ features: ['talk'] }, rights('view')), undefined);
  assert.equal(soundOffered({}, undefined, true), 'sendrecv', 'of a device that has not said what it is');
  assert.deepEqual([lacksSound(undefined, undefined), lacksSound(undefined, 'recvonly'), lacksSound('recvonly', 'sendrecv'), lacksSound('sendrecv', 'recvonly')], [false, true, true, false]);
});

test('an offer that is made anew is not sent before it is there, and one that is out is replaced', () => {
  const world = new World().start();
  world.ready();
  const { attempt } = world;
  assert.deepEqual(did(world.on({ type: 'peer-changing', attempt })), []);
  assert.deepEqual(did(world.on({ type: 'broker-open' })), [], 'not the one that has no sound');
  assert.deepEqual(did(world.ready()), ['publish-offer']);
  assert.deepEqual(did(world.on({ type: 'peer-outgrown', attempt: attempt - 1 })), [], 'of an attempt before');
  assert.deepEqual(did(world.on({ type: 'peer-outgrown', attempt })), ['make-peer']);
  const live = new World().live(20_000);
  assert.deepEqual(did(live.on({ type: 'peer-outgrown', attempt: live.attempt })), ['make-peer']);
  const refused = new World().start();
  assert.deepEqual(did(refused.on({ type: 'peer-outgrown', attempt: refused.attempt })), [], 'its offer is not out');
});

test('both channels of Opus are asked for, once, and nothing else is changed', () => {
  const offer = (fmtp: string) => `m=audio 9 X 111 63\r\na=rtpmap:111 opus/48000/2\r\n${fmtp}a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n`;
  assert.equal(withStereo(offer('a=fmtp:111 minptime=10;useinbandfec=1\r\n')), offer('a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n'));
  for (const fmtp of ['a=fmtp:111 stereo=1;useinbandfec=1\r\n', 'a=fmtp:111 useinbandfec=1;stereo=0\r\n', '']) assert.equal(withStereo(offer(fmtp)), offer(fmtp));
  assert.match(withStereo(offer('a=fmtp:111 sprop-stereo=1\r\n')), /sprop-stereo=1;stereo=1\r\n/);
  assert.equal(withStereo('m=video 9 X 96\r\n'), 'm=video 9 X 96\r\n');
});

interface FakeTransceiver {
  kind: string;
  direction: string;
  currentDirection: string | null;
  receiver: { track: { kind: string }; jitterBufferTarget: number | null };
  sender: { track: unknown; replaceTrack(track: unknown): Promise<void> };
  setCodecPreferences(): void;
}

/** As much of a browser as an offer takes. */
class FakePc {
  static last: FakePc;
  transceivers: FakeTransceiver[] = [];
  localDescription: { sdp: string } | null = null;
  iceGatheringState = 'new';
  ontrack: ((event: unknown) => void) | null = null;
  constructor() {
    FakePc.last = this;
  }
  addTransceiver(kind: string, { direction }: { direction: string }): FakeTransceiver {
    const sender = { track: null as unknown, replaceTrack: async (track: unknown) => void (sender.track = track) };
    const made = { kind, direction, currentDirection: null, receiver: { track: { kind }, jitterBufferTarget: null }, sender, setCodecPreferences: () => undefined };
    this.transceivers.push(made);
    return made;
  }
  createDataChannel(): object {
    return {};
  }
  async createOffer(): Promise<{ sdp: string }> {
    const sections = this.transceivers.map(({ kind, direction }) => `m=${kind} a=${direction}`).join('\n');
    return { sdp: `a=rtpmap:96 H264/90000\n${sections}` };
  }
  async setLocalDescription(offer: { sdp: string }): Promise<void> {
    this.localDescription = offer;
  }
  close(): void {}
  answer(...directions: string[]): void {
    this.transceivers.forEach((transceiver, n) => (transceiver.currentDirection = directions[n] ?? null));
    for (const { kind, receiver, currentDirection } of this.transceivers) {
      if (/recv/.test(currentDirection ?? '')) this.ontrack?.({ track: { kind }, receiver });
    }
  }
}

function browser(): { peer: Peer; events: string[]; streams: string[][] } {
  const globals = globalThis as unknown as Record<string, unknown>;
  globals['RTCPeerConnection'] = FakePc;
  globals['RTCRtpReceiver'] = { getCapabilities: (kind: string) => ({ codecs: [{ mimeType: kind === 'audio' ? 'audio/opus' : 'video/H264' }] }) };
  globals['MediaStream'] = class {
    constructor(readonly tracks: { kind: string }[]) {}
  };
  const [events, streams]: [string[], string[][]] = [[], []];
  const peer = new Peer(1, [], (event) => events.push(event.type), (stream) => streams.push((stream as unknown as { tracks: { kind: string }[] }).tracks.map(({ kind }) => kind)));
  return { peer, events, streams };
}

test('sound comes into the offer until somebody has it, and into the same stream as the picture', async () => {
  const { peer, events, streams } = browser();
  await peer.prepare(undefined);
  assert.doesNotMatch(FakePc.last.localDescription!.sdp, /audio/);
  assert.equal(peer.offerMore('recvonly'), true);
  assert.equal(peer.offerMore('sendrecv'), true, 'the device has said more meanwhile');
  await new Promise((done) => setImmediate(done));
  assert.deepEqual(events, ['peer-ready', 'peer-ready'], 'the one in between was never ready');
  assert.match(peer.takeOffer().sdp, /m=video a=recvonly\nm=audio a=sendrecv$/);
  assert.equal(peer.offerMore('sendrecv'), false);
  FakePc.last.answer('recvonly', 'sendrecv');
  assert.deepEqual([streams, peer.canSpeak], [[['video', 'audio']], true]);
  const [video, audio] = FakePc.last.transceivers;
  assert.deepEqual([video?.receiver.jitterBufferTarget, audio?.receiver.jitterBufferTarget], [0, 0]);
  assert.equal(audio?.sender.track, null, 'nothing is sent before somebody speaks');
  const track = {} as MediaStreamTrack;
  await peer.speak(track);
  assert.equal(audio?.sender.track, track);
});

test('what the device does not take or send is not there', async () => {
  const { peer, streams } = browser();
  await peer.prepare('sendrecv');
  FakePc.last.answer('recvonly', 'inactive');
  assert.deepEqual([streams, peer.canSpeak], [[['video']], false]);
  const other = browser();
  await other.peer.prepare('sendrecv');
  FakePc.last.answer('recvonly', 'recvonly');
  assert.deepEqual([other.streams, other.peer.canSpeak], [[['video', 'audio']], false]);
});

test('a second of sound in figures', () => {
  const before = { figures: { audioBytesReceived: 1_000, audioPacketsReceived: 100, audioPacketsLost: 0, audioJitterBufferDelay: 960, audioJitterBufferEmittedCount: 48_000 }, atMs: 0 };
  const figures = { audioBytesReceived: 5_000, audioPacketsReceived: 196, audioPacketsLost: 4, audioJitterBufferDelay: 2_400, audioJitterBufferEmittedCount: 96_000 };
  assert.deepEqual(sampleOf(figures, 1_000, before), { atMs: 1_000, audioKbps: 32, audioLoss: 0.04, audioDelayMs: 30 });
  assert.deepEqual(sampleOf({ audioBytesReceived: 5_000, audioJitterBufferEmittedCount: 48_000, audioJitterBufferDelay: 960 }, 1_000, before), { atMs: 1_000, audioKbps: 32 }, 'nothing was played');
});

test('what the device says of its sound is read, whatever it is', () => {
  const audio = (json: unknown) => parseState(JSON.stringify({ audio: json })).audio;
  assert.deepEqual(audio({ on: 'ON', state: 'error', card: 'USB', error: 'busy', speaker: null, speaker_error: 7, level: -20 }), { on: true, state: 'error', card: 'USB', error: 'busy' });
  assert.deepEqual([audio('loud'), audio([]), audio(null), audio({ on: 1, state: {} })], [undefined, undefined, undefined, {}]);
  const device = { audio: { on: false, state: 'live' } };
  assert.equal(newsOf({ audio: { state: 'live' } }, device), undefined, 'its switch is told elsewhere');
  assert.deepEqual(newsOf({ audio: { state: 'lost', error: 'gone' } }, device), { audio: { state: 'lost', error: 'gone', on: false } });
  assert.deepEqual(newsOf({ ceilingKbps: 900 }, device), { ceilingKbps: 900 });
});

test('how the microphone and the loudspeaker are is said in words', () => {
  const info = { audio: true, features: ['audio', 'talk'] };
  const said = (audio: object, texts = en) => microphoneWords(info, { audio }, texts);
  assert.equal(microphoneWords({ features: ['talk'] }, {}, en), undefined);
  assert.equal(said({ on: false, state: 'off' }), 'The microphone is switched off.');
  assert.equal(said({ state: 'live', card: 'USB PnP' }), 'Microphone: USB PnP');
  assert.match(said({ state: 'lost', card: 'USB PnP' }) ?? '', /^The microphone is not there/);
  assert.equal(said({ state: 'error', error: 'held by arecord (412)' }), 'The microphone gives no sound. The camera says: held by arecord (412)');
  assert.match(said({ state: 'lost' }, de) ?? '', /^Das Mikrofon ist nicht da/);
  assert.equal(speakerWords({ features: ['audio'] }, { audio: { speaker: 'x' } }, en), undefined);
  assert.equal(speakerWords(info, { audio: { speaker: 'HDMI' } }, en), 'Loudspeaker: HDMI');
  assert.match(speakerWords(info, { audio: { speakerError: 'gone' } }, de) ?? '', /^Der Lautsprecher gibt nichts wieder\. .*gone/);
  for (const texts of [en, de]) {
    assert.match(troubleWords({ ok: false, error: 'insecure' }, texts), /https/);
    assert.equal(troubleWords({ ok: false, error: '__proto__' }, texts), texts.talk.trouble['no-answer']);
    for (const error of ['x', 'unsupported']) assert.match(troubleWords({ ok: false, error, message: 'a mouse is in it' }, texts), /a mouse is in it$/);
    assert.equal(troubleWords({ ok: false, error: 'busy', message: 'in English' }, texts), texts.talk.trouble['busy']);
  }
});

test('attributes of sound are what it begins with, and nothing that is written there throws', () => {
  const video = { muted: true, volume: 1 };
  const set = (name: 'muted' | 'volume', text: string | null) => (setSound(video, name, text), [video.muted, video.volume]);
  assert.deepEqual(set('muted', ''), [true, 1]);
  assert.deepEqual(set('muted', ' False'), [false, 1]);
  assert.deepEqual(set('muted', null), [true, 1], 'browsers start nothing with sound');
  assert.deepEqual(set('volume', '0.25'), [true, 0.25]);
  assert.deepEqual(set('volume', 'loud'), [true, 0.25]);
  assert.deepEqual(set('volume', '17'), [true, 1]);
  assert.deepEqual(set('volume', '-1'), [true, 0]);
  assert.deepEqual(set('volume', ''), [true, 1]);
  setVolume(video, NaN);
  assert.equal(video.volume, 1);
  assert.equal(canSetVolume({ volume: 1 }), true);
  assert.equal(canSetVolume(Object.defineProperty({}, 'volume', { get: () => 1, set: () => undefined }) as { volume: number }), false, 'on iOS it stays as it is');
});
