// Single pictures in place of live video: when they are wanted, and what is said meanwhile. Live video is tried again all the while.

import type { Say } from '../core/words.ts';
import type { Texts } from '../texts/index.ts';
import { Pictures, type PictureTrouble } from './pictures.ts';

/** So many attempts in a row found no way through the network before pictures are fetched. */
const NO_PATH_ATTEMPTS = 2;
/** How often a browser that lacks something is asked whether it has it by now: Firefox fetches H.264 by itself. */
const AGAIN_MS = 60_000;

/** What this browser lacks for live video; waiting does not bring it, a person may. */
const LACKS = new Set(['no-webrtc', 'no-h264']);
/** What the device or its owner has decided is not got around by another way. */
const DECIDED = new Set(['privacy', 'unauthorized', 'expired', 'forbidden', 'answer-unsigned', 'answer-changed', 'other-device', 'no-invitation', 'broker-refused']);

export interface Tally {
  /** Attempts in a row that ended with `no-path`. */
  noPath: number;
  attempt: number;
  wanted: boolean;
}

export const freshTally = (): Tally => ({ noPath: 0, attempt: -1, wanted: false });

/** Whether pictures are wanted after the page has come to say this in its `attempt`. */
export function tallied(before: Tally, { phase, code }: Pick<Say, 'phase' | 'code'>, attempt: number): Tally {
  if (phase === 'live' || phase === 'tap-to-play' || phase === 'left') return freshTally();
  if (code !== undefined && DECIDED.has(code)) return freshTally();
  if (code !== undefined && LACKS.has(code)) return { ...before, wanted: true };
  if (code !== 'no-path' || attempt === before.attempt) return before;
  const noPath = before.noPath + 1;
  return { noPath, attempt, wanted: before.wanted || noPath >= NO_PATH_ATTEMPTS };
}

export interface FallbackOptions {
  /** Where the device's HTTP is, or nothing where nobody knows. Never from what the broker says: the token goes there. */
  base(): Promise<string | undefined>;
  token?: string | undefined;
  /** Undefined: there is none any more. */
  onPicture(picture: Blob | undefined): void;
  /** Asks for live video once more. */
  retry(): void;
  /** What {@link Fallback.over} says has changed. */
  changed(): void;
}

export class Fallback {
  private tally = freshTally();
  private pictures: Pictures | undefined;
  private looking = false;
  private hidden = false;
  private hasPicture = false;
  private trouble: PictureTrouble | undefined;
  private again: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly options: FallbackOptions) {}

  /** Told of everything that the page says. */
  hear(say: Say, attempt: number): void {
    const { wanted } = this.tally;
    this.tally = tallied(this.tally, say, attempt);
    if (this.tally.wanted && !wanted) void this.start();
    if (!this.tally.wanted && wanted) this.end();
  }

  /** Nobody looks, so nothing is asked for. */
  setHidden(hidden: boolean): void {
    this.hidden = hidden;
    if (hidden) this.pictures?.stop();
    else this.pictures?.start();
  }

  /** What is said in place of `say`. */
  over(say: Say, texts: Texts['page']): Say {
    if (!this.tally.wanted || !this.pictures) return say;
    if (this.hasPicture) return { ...say, phase: 'pictures', text: texts.picturesText, hint: `${say.text} ${texts.picturesAgain}`, retry: true };
    const more = this.trouble ? troubleWords(this.trouble.code, texts) : '';
    return more === '' ? say : { ...say, hint: `${say.hint} ${more}` };
  }

  end(): void {
    this.pictures?.stop();
    clearInterval(this.again);
    this.pictures = this.trouble = undefined;
    this.tally = freshTally();
    this.show(undefined);
  }

  private async start(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    const base = await this.options.base().catch(() => undefined);
    this.looking = false;
    if (base === undefined || !this.tally.wanted || this.pictures) return;
    this.again = setInterval(() => this.hidden || this.options.retry(), AGAIN_MS);
    this.pictures = new Pictures({
      base,
      token: this.options.token,
      onPicture: (picture) => {
        this.trouble = undefined;
        this.show(picture);
      },
      onTrouble: (trouble) => {
        this.trouble = trouble;
        this.show(undefined);
      },
    });
    if (!this.hidden) this.pictures.start();
  }

  private show(picture: Blob | undefined): void {
    if (!picture && !this.hasPicture) return this.options.changed();
    this.hasPicture = picture !== undefined;
    this.options.onPicture(picture);
    this.options.changed();
  }
}

function troubleWords(code: string, texts: Texts['page']): string {
  switch (code) {
    case 'unauthorized':
    case 'forbidden':
      return texts.noRight;
    case 'rate-limited':
      return texts.tooOften;
    default:
      return code === 'no-pictures' ? '' : texts.noPictures;
  }
}
