// How loud it is here: on and off, and a slider where the browser lets pages set that.

import { canSetVolume, setVolume } from '../element/sounding.ts';
import type { Texts } from '../texts/index.ts';
import { make } from './dom.ts';

export class Volume {
  readonly element: HTMLInputElement;
  private readonly isSettable = canSetVolume(document.createElement('video'));

  constructor(private readonly video: HTMLVideoElement, { bar: t }: Texts) {
    this.element = make('input', { type: 'range', class: 'ui-volume', part: 'volume', min: 0, max: 100, step: 1, 'aria-label': t.volume, title: t.volume, hidden: true });
    this.element.addEventListener('input', () => setVolume(video, this.element.valueAsNumber / 100));
  }

  show(hasSound: boolean): void {
    const { element, video } = this;
    element.hidden = !hasSound || video.muted || !this.isSettable;
    const now = String(Math.round(video.volume * 100));
    if (element.value !== now) element.value = now;
  }

  /** Within the gesture that asks for it: browsers begin with sound only then. */
  toggle(): void {
    const { video } = this;
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 1;
  }
}
