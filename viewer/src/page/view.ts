// The page around the video: writes sentences into it (always as text) and hears its buttons.

import { signOf } from '../core/signs.ts';
import type { Turn } from '../core/turn.ts';
import type { Say } from '../core/words.ts';

export interface Buttons {
  retry(): void;
  play(): void;
  connect(broker: string, device: string): void;
}

const CONTROLS_STAY_MS = 3_000;

export class View {
  readonly video = find<HTMLVideoElement>('video');
  private readonly picture = find<HTMLImageElement>('picture');
  private readonly name = find('name');
  private readonly text = find('text');
  private readonly hint = find('hint');
  private readonly countdown = find('countdown');
  private readonly sign = find<HTMLElement>('sign');
  private readonly retry = find<HTMLButtonElement>('retry');
  private readonly play = find<HTMLButtonElement>('play');
  private readonly fullscreen = find<HTMLButtonElement>('fullscreen');
  private readonly form = find<HTMLFormElement>('setup');
  private idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(buttons: Buttons) {
    this.retry.addEventListener('click', () => buttons.retry());
    this.play.addEventListener('click', () => buttons.play());
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const fields = new FormData(this.form);
      buttons.connect(String(fields.get('broker')), String(fields.get('device')));
    });
    this.setUpFullscreen();
    for (const type of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      document.addEventListener(type, () => this.stir(), { passive: true });
    }
    this.stir();
  }

  /** A single picture over the place of the video. */
  showPicture(picture: Blob | undefined): void {
    const before = this.picture.src;
    if (picture) this.picture.src = URL.createObjectURL(picture);
    else this.picture.removeAttribute('src');
    this.picture.hidden = !picture;
    if (before !== '') URL.revokeObjectURL(before);
  }

  showName(name: string): void {
    write(this.name, name);
    const title = `${name} · Porthole`;
    if (document.title !== title) document.title = title;
  }

  /** Behind the name, for those who look for it. */
  showDelay(ms: number | undefined): void {
    const title = ms === undefined ? '' : `${Math.round(ms)} ms from the camera to the screen`;
    if (this.name.title !== title) this.name.title = title;
  }

  show(say: Say): void {
    const root = document.documentElement;
    if (root.dataset['phase'] !== say.phase) root.dataset['phase'] = say.phase;
    const sign = signOf(say) ?? '';
    if (this.sign.getAttribute('d') !== sign) this.sign.setAttribute('d', sign);
    write(this.text, say.text);
    write(this.hint, say.hint);
    write(this.countdown, say.seconds === undefined ? '' : say.seconds > 0 ? `Next try in ${say.seconds} s` : 'Trying…');
    this.retry.hidden = !say.retry;
    write(this.retry, say.phase === 'refused' ? 'Try again' : 'Try now');
    this.play.hidden = say.phase !== 'tap-to-play';
    this.form.hidden = say.phase !== 'setup';
  }

  /** As app.css has it. */
  turn({ rotate, mirror }: Turn): void {
    const { dataset } = document.documentElement;
    if ((dataset['rotate'] ?? '0') !== String(rotate)) dataset['rotate'] = String(rotate);
    document.documentElement.toggleAttribute('data-mirror', mirror); // which changes nothing twice
  }

  fillForm(broker: string, device: string): void {
    find<HTMLInputElement>('broker').value = broker;
    find<HTMLInputElement>('device').value = device;
    find<HTMLInputElement>(broker ? 'device' : 'broker').focus();
  }

  /** Shows the controls for a while; CSS hides them over a live picture once the page is idle. */
  private stir(): void {
    const root = document.documentElement;
    delete root.dataset['idle'];
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => (root.dataset['idle'] = ''), CONTROLS_STAY_MS);
  }

  private setUpFullscreen(): void {
    const stage = document.documentElement;
    // On an iPhone only the video itself can fill the screen.
    const video = this.video as HTMLVideoElement & { webkitEnterFullscreen?: () => void };
    const whole = document.fullscreenEnabled;
    this.fullscreen.hidden = !whole && !video.webkitEnterFullscreen;
    const toggle = (): void => {
      if (!whole) video.webkitEnterFullscreen?.();
      else if (document.fullscreenElement) void document.exitFullscreen();
      else stage.requestFullscreen().catch((error: unknown) => console.debug('porthole: fullscreen', error));
    };
    this.fullscreen.addEventListener('click', toggle);
    this.video.addEventListener('dblclick', toggle);
    document.addEventListener('keydown', (event) => {
      const typing = event.target instanceof HTMLInputElement;
      if (event.key.toLowerCase() === 'f' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) toggle();
    });
    document.addEventListener('fullscreenchange', () => {
      this.fullscreen.setAttribute('aria-label', document.fullscreenElement ? 'Leave full screen' : 'Full screen');
    });
  }
}

/** Only what changed is written, so that a screen reader does not say it again. */
function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function find<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as T;
}
