// The bar over a camera's picture: its buttons, its panels, its keys, and when it hides.

import type { Camera } from '../camera.ts';
import { adopt } from '../element/sheet.ts';
import { textsFor, type Texts } from '../texts/index.ts';
import css from './bar.css';
import { focused, icon, make, newId, setTo, write } from './dom.ts';
import { Gestures } from './gestures.ts';
import { ICONS } from './icons.ts';
import { keyList } from './help.ts';
import { COMMANDS, meant, type Command } from './keys.ts';
import { Panel } from './panel.ts';
import { Saver } from './saver.ts';
import { canFullscreen, canPip, isFullscreen, mayChange, toggleFullscreen, togglePip } from './screen.ts';
import { Settings } from './settings.ts';
import { Statistics } from './statistics.ts';
import { TALK_KEY, TalkButton } from './talk.ts';
import { Volume } from './volume.ts';
import { visible, WHOLE } from './zoom.ts';

/** So long the bar stays after the last sign of a person. */
const STAYS_MS = 3_000;
const NOTE_STAYS_MS = 8_000;
const STATISTICS_MS = 1_000;

export function mountBar(into: HTMLElement | ShadowRoot, camera: Camera): { unmount(): void } {
  return new Bar(into, camera);
}

type PanelName = 'settings' | 'statistics' | 'keys';

class Bar {
  private readonly texts: Texts;
  private readonly root = make('div', { class: 'ui', part: 'controls' });
  private readonly buttons: Record<Command, HTMLButtonElement>;
  private readonly time = make('span', { class: 'ui-time', 'aria-hidden': 'true' });
  private readonly note = make('div', { class: 'ui-note', part: 'note', role: 'status' });
  private readonly zoomed = make('div', { class: 'ui-zoom', part: 'zoom', hidden: true });
  private readonly factor = make('span', { role: 'status' });
  private readonly panels: Record<PanelName, Panel>;
  private readonly settings: Settings;
  private readonly statistics: Statistics;
  private readonly gestures: Gestures;
  private readonly saver: Saver;
  private readonly talk: TalkButton;
  private readonly volume: Volume;
  /** What goes to full screen, hears the pointer and has the keys. */
  private readonly host: HTMLElement;
  private readonly abort = new AbortController();
  private readonly unsubscribe: () => void;
  private readonly everySecond: ReturnType<typeof setInterval>;
  private idleTimer: ReturnType<typeof setTimeout> | undefined;
  private noteTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(into: HTMLElement | ShadowRoot, private readonly camera: Camera) {
    const tree = into.getRootNode();
    adopt(tree as ShadowRoot, css); // a document takes styles in the same way
    this.host = tree instanceof ShadowRoot ? (tree.host as HTMLElement) : (into as HTMLElement);
    const texts = (this.texts = textsFor(this.host));
    const { signal } = this.abort;
    this.saver = new Saver(camera, texts, (words) => this.tell(words), () => this.update());
    this.gestures = new Gestures(this.host, camera.video, (event) => this.isPicture(event), () => this.onZoom(), signal);
    this.settings = new Settings(camera, texts, () => this.enlarged(), () => this.gestures.set(WHOLE));
    this.statistics = new Statistics(camera, texts);
    this.talk = new TalkButton(camera, texts, (words) => this.tell(words), signal);
    this.volume = new Volume(camera.video, texts);
    const panel = (name: PanelName, body: HTMLElement): Panel => new Panel(name, texts.bar[name], texts.bar.close, body, () => this.close(true));
    this.panels = {
      settings: panel('settings', this.settings.element),
      statistics: panel('statistics', this.statistics.element),
      keys: panel('keys', keyList(texts)),
    };
    this.buttons = this.makeButtons();
    this.build(into);
    this.listen(signal);
    this.unsubscribe = camera.subscribe(() => this.update());
    this.everySecond = setInterval(() => this.eachSecond(), STATISTICS_MS);
    this.update();
    this.stir();
  }

  unmount(): void {
    this.abort.abort();
    this.unsubscribe();
    clearInterval(this.everySecond);
    clearTimeout(this.idleTimer);
    clearTimeout(this.noteTimer);
    this.saver.end();
    this.settings.end();
    this.root.remove();
    this.camera.video.style.cursor = '';
  }

  // --- what is there ---

  private makeButtons(): Record<Command, HTMLButtonElement> {
    const button = (name: Command): HTMLButtonElement => {
      const key = Object.entries(COMMANDS).find(([, command]) => command === name)?.[0];
      const made = make('button', { type: 'button', class: 'ui-icon', part: `button ${name}`, 'data-name': name, 'aria-keyshortcuts': key }, icon(ICONS[name]));
      made.addEventListener('click', () => this.command(name));
      if (name in this.panels) {
        setTo(made, 'aria-expanded', 'false');
        setTo(made, 'aria-controls', this.panels[name as PanelName].element.id);
      }
      return made;
    };
    return {
      record: button('record'), snapshot: button('snapshot'), sound: button('sound'), settings: button('settings'),
      statistics: button('statistics'), keys: button('keys'), pip: button('pip'), fullscreen: button('fullscreen'),
    };
  }

  private build(into: HTMLElement | ShadowRoot): void {
    const { texts, buttons } = this;
    const bar = make('div', { class: 'ui-bar', part: 'bar', role: 'group', 'aria-label': texts.bar.controls }, this.time, this.talk.words, this.talk.element, ...Object.values(buttons));
    buttons.sound.after(this.volume.element);
    const reset = make('button', { type: 'button', part: 'zoom-reset', class: 'ui-icon', 'aria-label': texts.bar.resetZoom, title: `${texts.bar.resetZoom} (0)` }, icon(ICONS.close));
    reset.addEventListener('click', () => {
      this.gestures.set(WHOLE);
      this.buttons.fullscreen.focus({ preventScroll: true });
    });
    this.zoomed.append(this.factor, reset);
    // The panels come after the buttons that open them, for the keyboard; they are above them for the eye.
    const panels = Object.values(this.panels).map(({ element }) => element);
    this.root.append(this.note, this.zoomed, bar, ...panels);
    for (const panel of panels) panel.style.order = '-1';
    this.root.id = newId();
    into.append(this.root);
  }

  private listen(signal: AbortSignal): void {
    for (const type of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      this.host.addEventListener(type, () => this.stir(), { signal, passive: true });
    }
    // Two taps enlarge; some browsers call them a double click, too.
    let byMouse = true;
    this.host.addEventListener('pointerdown', ({ pointerType }) => (byMouse = pointerType === 'mouse'), { signal, passive: true });
    this.host.addEventListener('dblclick', (event) => byMouse && this.isPicture(event) && this.command('fullscreen'), { signal });
    document.addEventListener('keydown', (event) => this.onKey(event), { signal });
    document.addEventListener('keyup', ({ key }) => key.toLowerCase() === TALK_KEY && this.talk.hold(false), { signal });
    for (const type of ['fullscreenchange', 'webkitfullscreenchange']) document.addEventListener(type, () => this.update(), { signal });
    for (const type of ['enterpictureinpicture', 'leavepictureinpicture', 'loadedmetadata', 'resize', 'volumechange']) {
      this.camera.video.addEventListener(type, () => {
        this.gestures.settle();
        this.update();
      }, { signal });
    }
  }

  /** Shows what is possible now, and how things are. */
  private update(): void {
    const { camera, buttons, texts } = this;
    const { phase } = camera.say();
    const live = phase === 'live' || phase === 'stalled';
    const whole = isFullscreen(this.host);
    const hasSound = (camera.video.srcObject as MediaStream | null)?.getAudioTracks().length ? true : false;
    const { recording } = this.saver;
    const show = (name: Command, is: boolean, label: string, path: string): void => {
      const button = buttons[name];
      button.hidden = !is;
      const key = (button.getAttribute('aria-keyshortcuts') ?? '').toUpperCase();
      setTo(button, 'aria-label', label);
      setTo(button, 'title', `${label} (${key})`);
      setTo(button.querySelector('path') as Element, 'd', path);
    };
    const t = texts.bar;
    show('fullscreen', canFullscreen(camera.video), whole ? t.leaveFullscreen : t.fullscreen, whole ? ICONS.leaveFullscreen : ICONS.fullscreen);
    show('pip', canPip(camera.video), t.pip, ICONS.pip);
    show('snapshot', true, t.snapshot, ICONS.snapshot);
    show('record', this.saver.canRecord, recording ? t.stopRecording : t.record, recording ? ICONS.stopRecording : ICONS.record);
    show('sound', hasSound, camera.video.muted ? t.sound : t.mute, camera.video.muted ? ICONS.sound : ICONS.mute);
    this.volume.show(hasSound);
    this.talk.update();
    show('settings', mayChange(camera) || this.panels.settings.isOpen, t.settings, ICONS.settings);
    show('statistics', true, t.statistics, ICONS.statistics);
    show('keys', !matchMedia('(pointer: coarse)').matches, t.keys, ICONS.keys);
    setTo(buttons.record, 'data-recording', recording !== undefined);
    for (const name of ['pip', 'snapshot', 'record'] as const) buttons[name].disabled = !live && !(name === 'record' && recording);
    setTo(this.root, 'data-away', !live && !this.openPanel() && !recording);
    this.saver.look();
    write(this.time, this.saver.time);
    if (this.panels.settings.isOpen) this.settings.update();
  }

  private eachSecond(): void {
    this.saver.look();
    write(this.time, this.saver.time);
    if (this.panels.statistics.isOpen) this.statistics.update();
  }

  private tell(words: string): void {
    clearTimeout(this.noteTimer);
    write(this.note, words);
    this.noteTimer = setTimeout(() => write(this.note, ''), NOTE_STAYS_MS);
  }

  // --- hiding ---

  /** A sign of a person. */
  private stir(): void {
    setTo(this.root, 'data-idle', false);
    this.camera.video.style.cursor = '';
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => this.hide(), STAYS_MS);
  }

  private hide(): void {
    // A button that was clicked keeps the focus, but nobody sees it; one that the keyboard is at stays in view.
    const at = focused();
    const busy = at !== null && this.root.contains(at) && at.matches(':focus-visible');
    if (busy || this.openPanel() || this.talk.isTalking) return this.stir();
    setTo(this.root, 'data-idle', true);
    this.camera.video.style.cursor = 'none';
  }

  // --- panels ---

  private openPanel(): PanelName | undefined {
    return (Object.keys(this.panels) as PanelName[]).find((name) => this.panels[name].isOpen);
  }

  private toggle(name: PanelName): void {
    const was = this.openPanel();
    if (was) this.close(was === name);
    if (was === name) return;
    if (name === 'statistics') this.statistics.update();
    if (name === 'settings') this.settings.open();
    setTo(this.buttons[name], 'aria-expanded', 'true');
    this.panels[name].open();
    this.update();
  }

  /** `back`: the focus goes to where the panel was opened. */
  private close(back: boolean): void {
    const name = this.openPanel();
    if (!name) return;
    this.panels[name].close();
    setTo(this.buttons[name], 'aria-expanded', 'false');
    if (back) this.buttons[name].focus({ preventScroll: true });
    this.update();
    this.stir();
  }

  // --- commands ---

  private command(name: Command): void {
    const { camera, texts, buttons } = this;
    if (buttons[name].hidden || buttons[name].disabled) return;
    this.stir();
    switch (name) {
      case 'fullscreen':
        return void toggleFullscreen(this.host, camera.video).catch(() => this.tell(texts.bar.fullscreenFailed));
      case 'pip':
        return void togglePip(camera.video).catch(() => this.tell(texts.bar.pipFailed));
      case 'snapshot':
        return void this.saver.snapshot();
      case 'record':
        return this.saver.toggle();
      case 'sound':
        return this.volume.toggle();
      default:
        return this.toggle(name);
    }
  }

  private onKey(event: KeyboardEvent): void {
    const path = event.composedPath();
    const target = path[0] as Element | undefined;
    const nobody = target === document.body || target === document.documentElement;
    if (!path.includes(this.host) && !(nobody && this.isThePage())) return;
    const key = meant(event, target);
    if (key === undefined) return;
    if (key === 'Escape') {
      if (!this.openPanel()) return;
      this.close(true);
    } else if (Object.prototype.hasOwnProperty.call(COMMANDS, key)) {
      if (event.repeat) return;
      this.command(COMMANDS[key] as Command);
    } else if (key === TALK_KEY) {
      if (!event.repeat && !this.talk.hold(true)) return;
    } else if (path.includes(this.root) && key.startsWith('Arrow') && this.openPanel()) return; // a panel scrolls
    else if (!this.gestures.key(key)) return;
    event.preventDefault();
    this.stir();
  }

  /** Keys that are meant for nobody are this camera's only where it is what the page shows. */
  private isThePage(): boolean {
    const { width, height } = this.host.getBoundingClientRect();
    return isFullscreen(this.host) || width * height > 0.6 * innerWidth * innerHeight;
  }

  private isPicture(event: Event): boolean {
    for (const at of event.composedPath()) {
      if (at === this.host) return true;
      if (at === this.root || (at instanceof Element && ['button', 'input', 'select', 'a', 'form'].includes(at.localName))) return false;
    }
    return false;
  }

  // --- the enlarged picture ---

  private enlarged(): [number, number, number, number] | undefined {
    const { zoom } = this.gestures;
    return zoom.scale > 1 ? visible(zoom, this.gestures.room()) : undefined;
  }

  private onZoom(): void {
    const { scale } = this.gestures.zoom;
    this.zoomed.hidden = scale === 1;
    const factor = scale.toLocaleString(this.texts.locale, { maximumFractionDigits: 1 });
    write(this.factor, scale === 1 ? '' : this.texts.bar.zoomedIn(factor));
    if (this.panels.settings.isOpen) this.settings.update();
  }
}
