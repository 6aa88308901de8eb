// This machine's microphone: opened when somebody first speaks, kept for the next sentence, closed some time after the last one.

/** Why there is none; `texts` have the words. */
export type MicrophoneTrouble = 'insecure' | 'denied' | 'no-microphone' | 'microphone-busy';

export class MicrophoneError extends Error {
  constructor(readonly code: MicrophoneTrouble) {
    super(code);
  }
}

/** A browser shows that the microphone is open; so long after the last word it is not any more. */
export const KEPT_MS = 30_000;

/** What a voice over a loudspeaker needs: the camera's own sound is not to come back to it. */
const WANTED: MediaStreamConstraints = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } };

export class Microphone {
  private stream: MediaStream | undefined;
  private opening: Promise<MediaStreamTrack> | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  /** `devices` are those of the browser; it has none outside of secure contexts. */
  constructor(private readonly devices: () => Pick<MediaDevices, 'getUserMedia'> | undefined = () => navigator.mediaDevices) {}

  /** Throws only `MicrophoneError`. Asks the person where that was not done yet. */
  async open(): Promise<MediaStreamTrack> {
    clearTimeout(this.timer);
    const kept = this.stream?.getAudioTracks()[0];
    if (kept?.readyState === 'live') return kept;
    this.opening ??= this.ask().finally(() => (this.opening = undefined));
    return this.opening;
  }

  /** Nobody speaks now. */
  rest(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.stop(), KEPT_MS);
  }

  close(): void {
    this.isClosed = true;
    this.stop();
  }

  private async ask(): Promise<MediaStreamTrack> {
    const devices = this.devices();
    if (!devices?.getUserMedia) throw new MicrophoneError('insecure');
    let stream: MediaStream;
    try {
      stream = await devices.getUserMedia(WANTED);
    } catch (error) {
      throw new MicrophoneError(codeOf((error as DOMException | undefined)?.name));
    }
    this.stop();
    this.stream = stream;
    const track = stream.getAudioTracks()[0];
    if (this.isClosed) this.stop(); // the person answered when nobody was there any more
    if (!track || this.isClosed) throw new MicrophoneError('no-microphone');
    return track;
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
  }
}

/** The names of `getUserMedia`'s exceptions. */
function codeOf(name: string | undefined): MicrophoneTrouble {
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotReadableError':
    case 'AbortError':
      return 'microphone-busy';
    default:
      return 'no-microphone';
  }
}
