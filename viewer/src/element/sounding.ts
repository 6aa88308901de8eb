// Sound as media elements have it: `muted` and `volume` are what is now, attributes what it begins with.

/** The attributes about sound; each has a property of its name. */
export const SOUND = ['muted', 'volume'] as const;

export interface Sounding {
  /** Whether nothing is heard now. It begins so, because browsers start nothing with sound by themselves. */
  muted: boolean;
  /** 0 to 1. */
  volume: number;
}

type Heard = Pick<HTMLVideoElement, 'muted' | 'volume'>;

/** What an attribute says. Only `muted="false"` begins with sound; where the browser starts nothing so, it is muted again. */
export function setSound(video: Heard, name: (typeof SOUND)[number], text: string | null): void {
  if (name === 'muted') video.muted = text?.trim().toLowerCase() !== 'false';
  else setVolume(video, text === null || text.trim() === '' ? 1 : Number(text));
}

/** What is no number is passed over, and what is beyond the ends is at them. */
export function setVolume(video: Pick<Heard, 'volume'>, volume: number): void {
  if (!Number.isNaN(volume)) video.volume = Math.min(1, Math.max(0, volume));
}

/** Whether the browser lets pages set the volume: on iOS that is the buttons' of the device. */
export function canSetVolume(probe: Pick<Heard, 'volume'>): boolean {
  probe.volume = 0.5;
  return probe.volume === 0.5;
}

export function defineSound(prototype: { readonly video: Heard }): void {
  const define = (name: (typeof SOUND)[number], set: (video: Heard, value: unknown) => void): void => {
    Object.defineProperty(prototype, name, {
      configurable: true,
      enumerable: true,
      get(this: { video: Heard }) {
        return this.video[name];
      },
      set(this: { video: Heard }, value: unknown) {
        set(this.video, value);
      },
    });
  };
  define('muted', (video, value) => (video.muted = Boolean(value)));
  define('volume', (video, value) => setVolume(video, Number(value)));
}
