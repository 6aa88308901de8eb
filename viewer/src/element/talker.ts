// Talking to the camera: the microphone, the word, and the track that is sent only while somebody speaks. Knows no browser.

import type { Reply, Talking } from '../camera.ts';
import type { TalkNews } from '../net/channel.ts';
import { MicrophoneError, type Microphone } from '../net/microphone.ts';

export interface TalkEdges {
  /** Why nobody can talk now, as a code; undefined: one can. */
  why(): string | undefined;
  /** `do/talk` on the data channel. */
  ask(on: boolean): Promise<Reply>;
  /** Sends this track, or nothing more. */
  send(track: MediaStreamTrack | null): Promise<void>;
  microphone: Pick<Microphone, 'open' | 'rest' | 'close'>;
  changed(): void;
}

const DONE: Reply = { ok: true };
const ABORTED: Reply = { ok: false, error: 'aborted', message: 'It was ended before it began.' };

export class Talker {
  private state: Talking['state'] = 'off';
  private isBusy = false;
  private trouble: Reply | undefined;
  /** Each beginning and each end is the next turn: what was awaited for an earlier one is void. */
  private turn = 0;
  /** The device was asked for the word, and may have given it. */
  private asked = false;
  private beginning: Promise<Reply> = Promise.resolve(DONE);
  private shown: Talking = { state: 'off', can: false, busy: false };

  constructor(private readonly edges: TalkEdges) {}

  /** A new object only when something has changed. */
  get talking(): Talking {
    const { state, isBusy: busy, trouble } = this;
    const can = this.edges.why() === undefined;
    const { shown } = this;
    if (shown.state !== state || shown.can !== can || shown.busy !== busy || shown.trouble !== trouble) {
      this.shown = { state, can, busy, ...(trouble && { trouble }) };
    }
    return this.shown;
  }

  /** Begins, or ends; the promise is always kept, with what became of it. */
  talk(on: boolean): Promise<Reply> {
    if (!on) {
      this.end();
      return Promise.resolve(DONE);
    }
    if (this.state === 'off') this.beginning = this.begin();
    return this.beginning;
  }

  /** `why`: it ended by itself. */
  end(why?: string): void {
    if (this.state === 'off') return;
    this.turn += 1;
    this.state = 'off';
    this.trouble = why === undefined ? undefined : { ok: false, error: why };
    void this.edges.send(null).catch(() => undefined);
    if (this.asked) void this.edges.ask(false);
    this.asked = false;
    this.edges.microphone.rest();
    this.edges.changed();
  }

  hear(news: TalkNews): void {
    this.isBusy = news === 'busy';
    // Of `free` nothing follows: it is what a pause in the network looks like, and the next packet takes the word again.
    if (this.isBusy && this.state === 'on') this.end('busy');
    else this.edges.changed();
  }

  /** The connection is gone: with it the word, and what was known of others. */
  lost(): void {
    this.asked = false;
    this.isBusy = false;
    this.end('lost');
  }

  /** For good. */
  close(): void {
    this.end();
    this.edges.microphone.close();
  }

  private async begin(): Promise<Reply> {
    const why = this.edges.why();
    if (why !== undefined) return this.fail({ ok: false, error: why });
    const turn = (this.turn += 1);
    const isOver = (): boolean => turn !== this.turn;
    this.state = 'starting';
    this.trouble = undefined;
    this.edges.changed();
    let track: MediaStreamTrack;
    try {
      track = await this.edges.microphone.open();
    } catch (error) {
      return isOver() ? ABORTED : this.fail({ ok: false, error: error instanceof MicrophoneError ? error.code : 'no-microphone' });
    }
    // Somebody who was asked for the microphone has let go of the button meanwhile: the next time nothing is asked.
    if (isOver()) return this.isReady();
    this.asked = true;
    const reply = await this.edges.ask(true);
    if (isOver()) return ABORTED;
    if (!reply.ok) return this.fail(reply);
    try {
      await this.edges.send(track);
    } catch {
      return isOver() ? ABORTED : this.fail({ ok: false, error: 'unsupported' });
    }
    // Whoever ended it took this track back, too; what the browser did last counts.
    if (isOver()) return ABORTED;
    track.onended = () => {
      if (!isOver()) this.end('no-microphone');
    };
    this.state = 'on';
    this.isBusy = false;
    this.edges.changed();
    return DONE;
  }

  private isReady(): Reply {
    if (this.state !== 'off') return ABORTED;
    this.edges.microphone.rest();
    this.trouble = { ok: false, error: 'ready' };
    this.edges.changed();
    return ABORTED;
  }

  private fail(reply: Reply): Reply {
    const mayHaveTheWord = this.asked && reply.error !== 'busy' && reply.error !== 'forbidden';
    this.turn += 1;
    this.state = 'off';
    this.asked = false;
    this.trouble = reply;
    if (mayHaveTheWord) void this.edges.ask(false);
    this.edges.microphone.rest();
    this.edges.changed();
    return reply;
  }
}
