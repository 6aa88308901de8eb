// What is in the element's shadow root: the video, and the words, sign and buttons over it. Texts are always written as text.

import { signOf } from '../core/signs.ts';
import type { Turn } from '../core/turn.ts';
import type { Say } from '../core/words.ts';
import type { Texts } from '../texts/index.ts';
import css from './element.css';
import { adopt } from './sheet.ts';

export interface Buttons {
  retry(): void;
  play(): void;
}

const NAME_STAYS_MS = 3_000;
const SVG = 'http://www.w3.org/2000/svg';

export class Screen {
  readonly video = make('video', 'video');
  /** Where the bar goes. */
  readonly bar = make('div', 'bar');
  private readonly stage = make('div', 'stage');
  private readonly name = make('span', 'name');
  private readonly text = make('p', 'text');
  private readonly hint = make('p', 'hint');
  private readonly countdown = make('p', 'countdown');
  private readonly sign = document.createElementNS(SVG, 'path');
  private readonly playButton = make('button', 'play');
  private readonly retryButton = make('button', 'retry');
  private idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(root: ShadowRoot, public texts: Texts, buttons: Buttons) {
    adopt(root, css);
    const { video } = this;
    video.muted = video.autoplay = video.playsInline = true;
    for (const attribute of ['muted', 'playsinline', 'autoplay']) video.setAttribute(attribute, '');
    this.playButton.addEventListener('click', () => buttons.play());
    this.retryButton.addEventListener('click', () => buttons.retry());
    this.playButton.type = this.retryButton.type = 'button';
    this.playButton.hidden = this.retryButton.hidden = true;
    this.countdown.setAttribute('aria-hidden', 'true');
    this.stage.append(video, slot('picture'), this.header(), this.words(), this.bar);
    root.append(this.stage);
    for (const type of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      this.stage.addEventListener(type, () => this.stir(), { passive: true });
    }
    this.stir();
  }

  show(say: Say): void {
    const { dataset } = this.stage;
    const t = this.texts.element;
    if (dataset['phase'] !== say.phase) dataset['phase'] = say.phase;
    const sign = signOf(say) ?? '';
    if (this.sign.getAttribute('d') !== sign) this.sign.setAttribute('d', sign);
    write(this.text, say.text);
    write(this.hint, say.hint);
    write(this.countdown, say.seconds === undefined ? '' : say.seconds > 0 ? t.nextTry(say.seconds) : t.trying);
    this.retryButton.hidden = !say.retry;
    write(this.retryButton, say.phase === 'refused' ? t.tryAgain : t.tryNow);
    this.playButton.hidden = say.phase !== 'tap-to-play' && say.code !== 'by-hand';
    write(this.playButton, t.play);
  }

  /** `ms`: from the camera to the screen; behind the name, for those who look for it. */
  showName(name: string, ms: number | undefined): void {
    write(this.name, name);
    const title = ms === undefined ? '' : this.texts.element.delay(Math.round(ms));
    if (this.name.title !== title) this.name.title = title;
    const label = this.texts.element.livePicture(name);
    if (this.video.getAttribute('aria-label') !== label) this.video.setAttribute('aria-label', label);
  }

  /** As the styles have it. */
  turn({ rotate, mirror }: Turn): void {
    const { dataset } = this.stage;
    if ((dataset['rotate'] ?? '0') !== String(rotate)) dataset['rotate'] = String(rotate);
    this.stage.toggleAttribute('data-mirror', mirror); // which changes nothing twice
  }

  private header(): HTMLElement {
    const header = make('header', 'header');
    const dot = make('span', 'dot');
    dot.setAttribute('aria-hidden', 'true');
    header.append(dot, this.name);
    return header;
  }

  private words(): HTMLElement {
    const [words, ring, status, setup] = [make('div', 'words'), make('div', 'ring'), make('div', 'status'), slot('words')];
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.append(this.sign);
    ring.setAttribute('aria-hidden', 'true');
    ring.append(svg);
    status.setAttribute('role', 'status');
    status.setAttribute('aria-live', 'polite');
    status.append(this.text, this.hint);
    words.append(ring, status, this.countdown, this.playButton, this.retryButton, setup);
    return words;
  }

  /** Shows the name for a while; the styles hide it over a live picture that nobody touches. */
  private stir(): void {
    delete this.stage.dataset['idle'];
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => (this.stage.dataset['idle'] = ''), NAME_STAYS_MS);
  }
}

/** An element that is a part of that name, too. */
function make<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, name: string): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.className = name;
  element.setAttribute('part', name);
  return element;
}

function slot(name: string): HTMLSlotElement {
  const slot = document.createElement('slot');
  slot.name = name;
  return slot;
}

/** Only what changed is written, so that a screen reader does not say it again. */
function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
