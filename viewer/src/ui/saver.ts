// What the person keeps of the picture: snapshots and recordings, as files.

import type { Camera } from '../camera.ts';
import type { Texts } from '../texts/index.ts';
import { fileName, save } from './dom.ts';
import { clock, recordableType, Recording, type Recorded } from './record.ts';

export class Saver {
  recording: Recording | undefined;
  private readonly isAble = recordableType(false) !== undefined;

  constructor(private readonly camera: Camera, private readonly texts: Texts, private readonly tell: (words: string) => void, private readonly onChange: () => void) {}

  get canRecord(): boolean {
    return this.isAble;
  }

  get time(): string {
    return this.recording ? clock(this.recording.ms) : '';
  }

  async snapshot(): Promise<void> {
    const t = this.texts.bar;
    const blob = await this.camera.snapshot('image/jpeg').catch(() => undefined);
    if (!blob) return this.tell(t.noPicture);
    const name = fileName(this.camera.name, new Date(), 'jpg');
    save(blob, name);
    this.tell(t.saved(name));
  }

  toggle(): void {
    if (this.recording) return this.recording.stop('asked');
    const stream = this.camera.video.srcObject;
    if (!(stream instanceof MediaStream)) return this.tell(this.texts.bar.noPicture);
    // The sound is recorded also where it is not listened to.
    const type = recordableType(stream.getAudioTracks().length > 0);
    if (type === undefined) return this.tell(this.texts.bar.recordingFailed);
    try {
      this.recording = new Recording(stream, type, (recorded) => this.keep(recorded));
    } catch {
      this.recording = undefined;
      this.tell(this.texts.bar.recordingFailed);
    }
    this.onChange();
  }

  /** A connection that came back has another stream, which a recording cannot go on with. */
  look(): void {
    const { recording } = this;
    if (recording && this.camera.video.srcObject !== recording.stream) recording.stop('cut');
  }

  /** What is being recorded is kept. */
  end(): void {
    this.recording?.stop('cut');
  }

  private keep({ blob, ending, why }: Recorded): void {
    const t = this.texts.bar;
    const name = fileName(this.camera.name, new Date(), ending);
    this.recording = undefined;
    if (blob.size === 0) this.tell(why === 'failed' ? t.recordingFailed : t.recordingEmpty);
    else {
      save(blob, name);
      this.tell(why === 'asked' ? t.saved(name) : why === 'full' ? t.recordingFull(name) : t.recordingCut(name));
    }
    this.onChange();
  }
}
