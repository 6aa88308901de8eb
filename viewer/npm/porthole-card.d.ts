// Types of <porthole-card>, a card for Home Assistant's dashboards. Importing the module defines it and the element.

/** What a dashboard says about the card. */
export interface CardConfig {
  type?: 'custom:porthole-card';
  link?: string;
  broker?: string;
  device?: string;
  root?: string;
  key?: string;
  grant?: string;
  secret?: string;
  whep?: string;
  token?: string;
  /** What the camera is called until it has said its name. */
  name?: string;
  /** Shows the bar over the picture. */
  controls?: boolean;
  /** `16:9`, `4:3`, `1.78`, `56%`, … */
  aspect_ratio?: string | number;
  fit?: 'contain' | 'cover';
}

export class PortholeCard extends HTMLElement {
  /** Throws words for what cannot be used. */
  setConfig(config: CardConfig): void;
  set hass(hass: { language?: unknown; locale?: { language?: unknown } } | undefined);
  getCardSize(): number;
  getGridOptions(): object;
  static getStubConfig(): object;
  static getConfigForm(): object;
}

declare global {
  interface HTMLElementTagNameMap {
    'porthole-card': PortholeCard;
  }
}
