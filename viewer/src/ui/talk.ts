// The button to talk to the camera: held by a pointer or by its key, and switched by the keyboard or a screen reader.

import type { Camera } from '../camera.ts';
import type { Texts } from '../texts/index.ts';
import { icon, make, setTo, write } from './dom.ts';
import { ICONS } from './icons.ts';
import { talkWords, troubleWords } from './soundwords.ts';

/** Held, not pressed. */
export const TALK_KEY = 't';

export class TalkButton {
  readonly element: HTMLButtonElement;
  /** Who speaks now, beside it. */
  readonly words = make('span', { class: 'ui-talk', part: 'talk-state', role: 'status' });
  private isHeld = false;
  private told: unknown;

  /** `tell`: says what went wrong. */
  constructor(private readonly camera: Camera, private readonly texts: Texts, private readonly tell: (words: string) => void, signal: AbortSignal) {
    const props = { type: 'button', class: 'ui-icon', part: 'button talk', 'data-name': 'talk', 'aria-keyshortcuts': TALK_KEY, 'aria-pressed': 'false', hidden: true };
    this.element = make('button', props, icon(ICONS.talk));
    const on = <Type extends keyof HTMLElementEventMap>(type: Type, act: (event: HTMLElementEventMap[Type]) => void): void => (
      this.element.addEventListener(type, act, { signal })
    );
    on('pointerdown', (event) => this.onPointer(event));
    for (const type of ['pointerup', 'pointercancel', 'lostpointercapture'] as const) on(type, () => this.release());
    // A finger that stays is no wish for a menu.
    on('contextmenu', (event) => event.preventDefault());
    // Without a pointer, as keyboards and screen readers click, it stays as it was put.
    on('click', ({ detail }) => detail === 0 && void camera.talk(camera.talking.state === 'off'));
    window.addEventListener('blur', () => this.end(), { signal });
    document.addEventListener('visibilitychange', () => document.hidden && this.end(), { signal });
    signal.addEventListener('abort', () => this.end());
  }

  get isTalking(): boolean {
    return this.camera.talking.state !== 'off';
  }

  update(): void {
    const { element, camera, texts } = this;
    const { talking } = camera;
    const { state, can, trouble } = talking;
    const t = texts.talk;
    element.hidden = !can && state === 'off';
    setTo(element, 'aria-label', t.talk);
    setTo(element, 'title', `${t.hold} (${TALK_KEY.toUpperCase()})`);
    setTo(element, 'aria-pressed', state === 'off' ? 'false' : 'true');
    setTo(element, 'data-talking', state === 'on');
    write(this.words, talkWords(talking, texts));
    if (state === 'off') this.isHeld = false;
    if (trouble !== this.told) {
      this.told = trouble;
      if (trouble) this.tell(troubleWords(trouble, texts));
    }
  }

  /** The key goes down or up; whether it is this button's now. */
  hold(isDown: boolean): boolean {
    if (this.element.hidden) return false;
    if (isDown) this.press();
    else this.release();
    return true;
  }

  private onPointer({ button, pointerId }: PointerEvent): void {
    if (button !== 0) return;
    // Whatever becomes of the pointer, its end is heard here.
    this.element.setPointerCapture(pointerId);
    this.press();
  }

  private press(): void {
    this.isHeld = true;
    void this.camera.talk(true);
  }

  private release(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    void this.camera.talk(false);
  }

  /** Nobody is at this page any more. */
  private end(): void {
    this.isHeld = false;
    if (this.isTalking) void this.camera.talk(false);
  }
}
