// Recording in the browser, bounded: what is recorded is in memory until it is saved.

export const LONGEST_MS = 10 * 60_000;
export const MOST_BYTES = 200 * 1024 * 1024;
const SLICE_MS = 1_000;

/** In this order: a file that every player opens, before one that browsers open. */
const TYPES = ['video/mp4;codecs=avc1.42E01F', 'video/mp4', 'video/webm;codecs=h264', 'video/webm;codecs=vp9', 'video/webm'];
/** The same with sound. */
const SOUND_TYPES = ['video/mp4;codecs=avc1.42E01F,mp4a.40.2', 'video/mp4;codecs=avc1.42E01F,opus', 'video/mp4', 'video/webm;codecs=h264,opus', 'video/webm;codecs=vp9,opus', 'video/webm'];

export function recordableType(withSound: boolean): string | undefined {
  if (typeof MediaRecorder === 'undefined') return undefined;
  return (withSound ? SOUND_TYPES : TYPES).find((type) => MediaRecorder.isTypeSupported(type));
}

export interface Recorded {
  blob: Blob;
  /** `mp4` or `webm`. */
  ending: string;
  /** `asked`: the person ended it; `full`: one of the bounds did; `cut`: the picture did; `failed`: the browser did. */
  why: 'asked' | 'full' | 'cut' | 'failed';
}

export class Recording {
  readonly startedAt = performance.now();
  private readonly recorder: MediaRecorder;
  private readonly chunks: Blob[] = [];
  private bytes = 0;
  private why: Recorded['why'] | undefined;

  /** Throws where the browser refuses. `onEnd` is called once. */
  constructor(readonly stream: MediaStream, type: string, onEnd: (recorded: Recorded) => void) {
    const recorder = new MediaRecorder(stream, { mimeType: type });
    this.recorder = recorder;
    recorder.addEventListener('dataavailable', ({ data }) => {
      if (data.size > 0) this.chunks.push(data);
      this.bytes += data.size;
      if (this.bytes >= MOST_BYTES || this.ms >= LONGEST_MS) this.stop('full');
    });
    recorder.addEventListener('error', () => this.stop('failed'));
    recorder.addEventListener('stop', () => {
      const kind = (recorder.mimeType || type).split(';')[0] ?? '';
      onEnd({ blob: new Blob(this.chunks, { type: kind }), ending: kind.endsWith('mp4') ? 'mp4' : 'webm', why: this.why ?? 'cut' });
    });
    recorder.start(SLICE_MS);
  }

  get ms(): number {
    return performance.now() - this.startedAt;
  }

  stop(why: Recorded['why']): void {
    this.why ??= why;
    if (this.recorder.state !== 'inactive') this.recorder.stop();
  }
}

/** `0:07`, `12:34`. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
