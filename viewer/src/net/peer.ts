// The browser's RTCPeerConnection, one for each attempt: makes the offer, takes the answer, counts frames.

import { captureTime, DeviceClock, type Captured } from '../core/delay.ts';
import type { IceServer } from '../core/link.ts';
import { offersH264, type Candidate } from '../core/signal.ts';
import type { Figures } from '../core/samples.ts';
import { withStereo, type SoundOffered } from '../core/sound.ts';
import type { Event } from '../core/state.ts';
import { LABEL } from './channel.ts';

type Emit = (event: Event) => void;

export const hasWebRtc = (): boolean => typeof RTCPeerConnection === 'function';

export class Peer {
  private readonly pc: RTCPeerConnection;
  private published = false;
  private closed = false;
  private receiver: RTCRtpReceiver | undefined;
  private sound: RTCRtpTransceiver | undefined;
  /** Offers that are being made: only the last one counts. */
  private making = 0;
  /** What of sound this attempt asks for. */
  offered: SoundOffered;
  /** The data channel of this attempt; opens with the connection, or never where the device knows none. */
  wire: RTCDataChannel | undefined;
  private readonly clock = new DeviceClock();

  constructor(
    readonly attempt: number,
    iceServers: IceServer[],
    private readonly emit: Emit,
    onTrack: (stream: MediaStream) => void,
  ) {
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.pc.onicecandidate = ({ candidate }) => {
      if (this.published) this.report({ type: 'local-candidate', attempt, candidate: candidate && toJson(candidate) });
    };
    this.pc.onconnectionstatechange = () => this.report({ type: 'ice', attempt, state: this.pc.connectionState });
    this.pc.ontrack = ({ track, receiver }) => {
      keepLatencyLow(receiver);
      if (track.kind === 'audio') return; // it goes along with the picture, which lies before it in every answer
      this.receiver = receiver;
      // A device that goes away says so in DTLS, long before ICE would notice.
      const { transport } = receiver;
      transport?.addEventListener('statechange', () => {
        if (transport.state === 'closed') this.report({ type: 'ice', attempt, state: 'closed' });
      });
      const heard = this.sound && /recv/.test(this.sound.currentDirection ?? '') ? [this.sound.receiver.track] : [];
      onTrack(new MediaStream([track, ...heard]));
    };
  }

  /** Makes the offer and starts to gather candidates; says `peer-ready` or `peer-broken`. */
  async prepare(sound: SoundOffered): Promise<void> {
    try {
      const transceiver = this.pc.addTransceiver('video', { direction: 'recvonly' });
      prefer(transceiver, 'video', /^video\/(h264|rtx|flexfec-03)$/i, /h264/i);
      askForCaptureTime(transceiver);
      this.wire = this.pc.createDataChannel(LABEL);
    } catch (error) {
      return this.noOffer(error);
    }
    await this.offer(sound);
  }

  /** Makes the offer anew with more of sound, as long as nobody has had it; whether it does. */
  offerMore(sound: SoundOffered): boolean {
    if (this.published) return false;
    void this.offer(sound);
    return true;
  }

  private async offer(sound: SoundOffered): Promise<void> {
    const number = (this.making += 1);
    const isOld = (): boolean => number !== this.making || this.closed;
    try {
      this.addSound(sound);
      const offer = await this.pc.createOffer();
      if (isOld()) return;
      if (!offersH264(offer.sdp ?? '')) return this.report({ type: 'peer-broken', attempt: this.attempt, code: 'no-h264' });
      await this.describe(offer);
      if (!isOld()) this.report({ type: 'peer-ready', attempt: this.attempt });
    } catch (error) {
      if (!isOld()) this.noOffer(error);
    }
  }

  /** With both channels, where the browser lets its offer be changed; else as it is. */
  private async describe(offer: RTCSessionDescriptionInit): Promise<void> {
    const sdp = withStereo(offer.sdp ?? '');
    if (sdp !== offer.sdp) {
      try {
        return await this.pc.setLocalDescription({ type: 'offer', sdp });
      } catch (error) {
        console.debug('porthole: one channel of sound', error);
      }
    }
    await this.pc.setLocalDescription(offer);
  }

  /** A section without a track: nothing is sent, and no microphone opened, before somebody speaks. */
  private addSound(sound: SoundOffered): void {
    this.offered = sound;
    if (!sound) return;
    if (this.sound) this.sound.direction = sound;
    else {
      this.sound = this.pc.addTransceiver('audio', { direction: sound });
      prefer(this.sound, 'audio', /^audio\/opus$/i, /opus/i);
      askForCaptureTime(this.sound);
    }
  }

  private noOffer(error: unknown): void {
    console.warn('porthole: no offer', error);
    this.report({ type: 'peer-broken', attempt: this.attempt, code: 'no-offer' });
  }

  /** Whether the answer takes sound from here. */
  get canSpeak(): boolean {
    return !this.closed && /send/.test(this.sound?.currentDirection ?? '');
  }

  /** Sends this, or nothing more; throws where the browser does not. */
  async speak(track: MediaStreamTrack | null): Promise<void> {
    if (!this.closed) await this.sound?.sender.replaceTrack(track);
  }

  /** The offer with every candidate found so far; later ones follow as events. */
  takeOffer(): { sdp: string; gathered: boolean } {
    this.published = true;
    return { sdp: this.pc.localDescription?.sdp ?? '', gathered: this.pc.iceGatheringState === 'complete' };
  }

  async answer(sdp: string, iceServers: IceServer[] | undefined): Promise<void> {
    try {
      if (iceServers) this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
    } catch (error) {
      console.warn('porthole: the ICE servers of the answer are not usable', error);
    }
    try {
      await this.pc.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      console.warn('porthole: the answer is not usable', error);
      this.report({ type: 'peer-broken', attempt: this.attempt, code: 'bad-answer' });
    }
  }

  /** The browser queues this behind a description that is still being applied. */
  async add(candidate: Candidate | null): Promise<void> {
    try {
      if (candidate) await this.pc.addIceCandidate(candidate);
      else await this.pc.addIceCandidate();
    } catch (error) {
      if (!this.closed) console.debug('porthole: candidate not used', error);
    }
  }

  async framesDecoded(): Promise<number | undefined> {
    for (const row of await this.rows()) {
      if (row['type'] === 'inbound-rtp' && row['kind'] === 'video') return Number(row['framesDecoded'] ?? 0);
    }
    return undefined;
  }

  /** Figures of the running picture, flat and named as in WebRTC's statistics. */
  async figures(): Promise<Figures> {
    const rows = await this.rows();
    const byId = new Map(rows.map((row) => [row['id'], row]));
    const video = rows.find((row) => row['type'] === 'inbound-rtp' && row['kind'] === 'video');
    const transport = rows.find((row) => row['type'] === 'transport' && row['selectedCandidatePairId']);
    const pair = byId.get(transport?.['selectedCandidatePairId']) ?? rows.find((row) => row['type'] === 'candidate-pair' && row['nominated']);
    const codec = byId.get(video?.['codecId']);
    const audio = rows.find((row) => row['type'] === 'inbound-rtp' && row['kind'] === 'audio');
    const figures: Figures = {};
    copy(figures, video);
    copy(figures, codec, { mimeType: 'mimeType', sdpFmtpLine: 'sdpFmtpLine' });
    copy(figures, pair, { currentRoundTripTime: 'roundTripTime', availableIncomingBitrate: 'availableIncomingBitrate' });
    copy(figures, byId.get(pair?.['localCandidateId']), { candidateType: 'localCandidateType', protocol: 'protocol' });
    copy(figures, byId.get(pair?.['remoteCandidateId']), { candidateType: 'remoteCandidateType' });
    copy(figures, audio, AUDIO_FIGURES);
    return figures;
  }

  /** When the picture with this time stamp was captured, in ms since 1970 by this machine's clock, as far as the stream tells. */
  captured(rtpTimestamp: number | undefined): number | undefined {
    const source = this.receiver?.getSynchronizationSources?.()[0] as Captured | undefined;
    const time = captureTime(source, rtpTimestamp);
    return time === undefined ? undefined : this.clock.here(time);
  }

  close(): void {
    this.closed = true;
    this.pc.close();
  }

  private async rows(): Promise<Record<string, unknown>[]> {
    const rows: Record<string, unknown>[] = [];
    if (!this.closed) (await this.pc.getStats()).forEach((row: Record<string, unknown>) => rows.push(row));
    this.tellTime(rows);
    return rows;
  }

  private tellTime(rows: Record<string, unknown>[]): void {
    const report = rows.find((row) => row['type'] === 'remote-outbound-rtp' && row['kind'] === 'video');
    const roundTripS = rows.find((row) => row['type'] === 'candidate-pair' && row['nominated'])?.['currentRoundTripTime'];
    this.clock.report(Number(report?.['remoteTimestamp']), Number(report?.['timestamp']), Number(roundTripS ?? 0) * 1_000);
  }

  private report(event: Event): void {
    if (!this.closed) this.emit(event);
  }
}

/** Those of the sound that is heard, beside those of the picture. */
const AUDIO_FIGURES = Object.fromEntries(
  ['bytesReceived', 'packetsReceived', 'packetsLost', 'jitterBufferDelay', 'jitterBufferEmittedCount', 'concealedSamples', 'totalSamplesReceived']
    .map((name) => [name, `audio${name.charAt(0).toUpperCase()}${name.slice(1)}`]),
);

/** Only these codecs: the offer is a third of the size, and nothing else can be chosen. Without the one that is needed all are left. */
function prefer(transceiver: RTCRtpTransceiver, kind: 'audio' | 'video', wanted: RegExp, needed: RegExp): void {
  const codecs = RTCRtpReceiver.getCapabilities?.(kind)?.codecs.filter((codec) => wanted.test(codec.mimeType)) ?? [];
  if (!codecs.some((codec) => needed.test(codec.mimeType))) return; // of video the offer is looked at, which decides
  try {
    transceiver.setCodecPreferences(codecs);
  } catch (error) {
    console.debug('porthole: codec preferences not taken', error);
  }
}

/** Browsers know the extension but do not offer it by themselves; with it the stream tells the camera's own time. */
function askForCaptureTime(transceiver: RTCRtpTransceiver): void {
  type Extension = { uri: string; direction: string };
  const tunable = transceiver as RTCRtpTransceiver & {
    getHeaderExtensionsToNegotiate?: () => Extension[];
    setHeaderExtensionsToNegotiate?: (extensions: Extension[]) => void;
  };
  try {
    const extensions = tunable.getHeaderExtensionsToNegotiate?.();
    const captureTime = extensions?.find(({ uri }) => uri.endsWith('/rtp-hdrext/abs-capture-time'));
    if (!extensions || !captureTime) return;
    captureTime.direction = 'sendrecv';
    tunable.setHeaderExtensionsToNegotiate?.(extensions);
  } catch (error) {
    console.debug('porthole: capture time not negotiated', error);
  }
}

/** The same for picture and sound: browsers play both at the time of the later one. */
function keepLatencyLow(receiver: RTCRtpReceiver): void {
  const tunable = receiver as RTCRtpReceiver & { jitterBufferTarget?: number | null; playoutDelayHint?: number | null };
  if ('jitterBufferTarget' in tunable) tunable.jitterBufferTarget = 0;
  if ('playoutDelayHint' in tunable) tunable.playoutDelayHint = 0;
}

function toJson(candidate: RTCIceCandidate): Candidate {
  const { candidate: line, sdpMid, sdpMLineIndex, usernameFragment } = candidate;
  return { candidate: line, sdpMid, sdpMLineIndex, usernameFragment };
}

function copy(into: Figures, row: Record<string, unknown> | undefined, names?: Record<string, string>): void {
  for (const [field, value] of Object.entries(row ?? {})) {
    const name = names ? names[field] : field;
    if (name !== undefined && (typeof value === 'number' || typeof value === 'string')) into[name] = value;
  }
}
