// <porthole-card>: the element as a card of a Home Assistant dashboard. docs/dashboards/home-assistant.md is for those who use it.

import type { PortholeCamera } from '../element/element.ts';
import { adopt } from '../element/sheet.ts';
import { formOf, PLACE, readConfig, sizeOf, type Shown } from './config.ts';
import { wordsFor, type CardWords } from './words.ts';
import css from './card.css';

/** What the card reads of Home Assistant's `hass`. */
interface Hass {
  language?: unknown;
  locale?: { language?: unknown };
}

const languageOf = (hass: Hass | undefined): unknown => hass?.locale?.language ?? hass?.language;

export class PortholeCard extends HTMLElement {
  private readonly frame: HTMLElement;
  private readonly camera: PortholeCamera;
  private readonly text = document.createElement('p');
  private readonly hint = document.createElement('p');
  private readonly said = document.createElement('div');
  /** Home Assistant sets `document`'s language to its user's before there is any card. */
  private words: CardWords = wordsFor(document.documentElement.lang);
  private shown: Shown = { place: undefined, controls: false, ratio: 16 / 9, fit: undefined };

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    this.frame = document.createElement('ha-card');
    this.camera = document.createElement('porthole-camera');
    this.said.className = 'words';
    this.said.append(this.text, this.hint);
    adopt(root, css);
    root.append(this.frame);
  }

  /** Throws words; Home Assistant shows them in the card's place. */
  setConfig(config: unknown): void {
    this.shown = readConfig(config, this.words);
    this.show();
  }

  /** Comes with each change of anything in the house; only the language matters here. */
  set hass(hass: Hass | undefined) {
    const language = languageOf(hass);
    const words = language === undefined ? this.words : wordsFor(language);
    if (words === this.words) return;
    this.words = words;
    this.show();
  }

  private show(): void {
    const { camera } = this;
    const { place, controls, ratio, fit } = this.shown;
    if (place === undefined) {
      [this.text.textContent, this.hint.textContent] = this.words.noCamera;
      return this.frame.replaceChildren(this.said);
    }
    for (const name of PLACE) {
      const value = place[name];
      if (value === undefined) camera.removeAttribute(name);
      else if (camera.getAttribute(name) !== value) camera.setAttribute(name, value);
    }
    camera.toggleAttribute('controls', controls);
    if (camera.lang !== this.words.lang) camera.lang = this.words.lang;
    camera.style.setProperty('--ratio', String(ratio));
    if (fit === undefined) camera.style.removeProperty('--porthole-fit');
    else camera.style.setProperty('--porthole-fit', fit);
    // Put in once: each time would be taking it out and putting it in.
    if (camera.parentNode !== this.frame) this.frame.replaceChildren(camera);
  }

  /** In units of 50 pixels. */
  getCardSize(): number {
    return sizeOf(this.shown.ratio);
  }

  /** In views of sections: as wide as a section, and as high as the picture. */
  getGridOptions(): object {
    return { columns: 12, rows: 'auto', min_columns: 6, min_rows: 2 };
  }

  static getStubConfig(): object {
    return { link: '', controls: true };
  }

  static getConfigForm(): object {
    return formOf(wordsFor(document.documentElement.lang));
  }
}
