// What the card and its editor say, in each language. Texts of the camera itself are the element's (`texts/`), in the same language.

import type { Place } from '../element/source.ts';

export type Field = keyof Place | 'controls' | 'aspect_ratio' | 'fit';

export interface CardWords {
  lang: string;
  /** In the list of cards. */
  name: string;
  description: string;
  /** In place of a camera that nobody has named yet. */
  noCamera: [text: string, hint: string];
  labels: Record<Field, string>;
  helpers: Partial<Record<Field, string>>;
  /** Heading of what a link says by itself. */
  inParts: string;
  contain: string;
  cover: string;
  noConfig: string;
  notText: (field: string) => string;
  notSwitch: (field: string) => string;
  badRatio: (given: string) => string;
  badFit: (given: string) => string;
}

export const en: CardWords = {
  lang: 'en',
  name: 'Porthole camera',
  description: 'Live video of a Porthole camera, straight from the device; needs no integration.',
  noCamera: ['No camera is named yet.', 'Paste its link in the settings of this card. On the device this prints one: sudo porthole grant NAME'],
  labels: {
    link: 'Link', name: 'Name', controls: 'Bar over the picture', aspect_ratio: 'Aspect ratio', fit: 'Picture in the card',
    broker: 'Broker', device: 'Device', root: 'Topic root', key: 'Key', grant: 'Grant', secret: 'Secret', whep: 'WHEP address', token: 'WHEP token',
  },
  helpers: {
    link: 'What "porthole grant NAME" prints on the device. Everybody who can see this dashboard can read it.',
    name: 'The name that the camera says by itself, where this is empty.',
    aspect_ratio: 'For example 16:9, 4:3 or 1.78.',
    broker: 'ws:// or wss://; over https only wss://.',
    whep: 'http:// or https://, in place of a broker.',
  },
  inParts: 'In place of a link',
  contain: 'All of it',
  cover: 'Fills the card',
  noConfig: 'The card has no settings: it needs at least a link.',
  notText: (field) => `"${field}" has to be text. Put it between quotation marks.`,
  notSwitch: (field) => `"${field}" has to be true or false.`,
  badRatio: (given) => `"aspect_ratio" is "${given}" and has to be like 16:9, 4:3, 1.78 or 56%, and between 1:5 and 5:1.`,
  badFit: (given) => `"fit" is "${given}" and has to be "contain" or "cover".`,
};

export const de: CardWords = {
  lang: 'de',
  name: 'Porthole-Kamera',
  description: 'Live-Video einer Porthole-Kamera, direkt vom Gerät; braucht keine Integration.',
  noCamera: ['Hier ist noch keine Kamera genannt.', 'Füge ihren Link in den Einstellungen dieser Karte ein. Am Gerät gibt diesen aus: sudo porthole grant NAME'],
  labels: {
    link: 'Link', name: 'Name', controls: 'Leiste über dem Bild', aspect_ratio: 'Seitenverhältnis', fit: 'Bild in der Karte',
    broker: 'Broker', device: 'Gerät', root: 'Oberstes Topic', key: 'Schlüssel', grant: 'Einladung', secret: 'Geheimnis', whep: 'WHEP-Adresse', token: 'WHEP-Token',
  },
  helpers: {
    link: 'Was „porthole grant NAME“ am Gerät ausgibt. Wer dieses Dashboard sehen kann, kann ihn lesen.',
    name: 'Der Name, den die Kamera selbst nennt, wenn hier nichts steht.',
    aspect_ratio: 'Zum Beispiel 16:9, 4:3 oder 1.78.',
    broker: 'ws:// oder wss://; über https nur wss://.',
    whep: 'http:// oder https://, statt eines Brokers.',
  },
  inParts: 'Statt eines Links',
  contain: 'Ganz zu sehen',
  cover: 'Füllt die Karte',
  noConfig: 'Die Karte hat keine Einstellungen: sie braucht wenigstens einen Link.',
  notText: (field) => `„${field}“ muss Text sein. Setze es in Anführungszeichen.`,
  notSwitch: (field) => `„${field}“ muss true oder false sein.`,
  badRatio: (given) => `„aspect_ratio“ ist „${given}“ und muss wie 16:9, 4:3, 1.78 oder 56% sein, zwischen 1:5 und 5:1.`,
  badFit: (given) => `„fit“ ist „${given}“ und muss „contain“ oder „cover“ sein.`,
};

/** For a language as Home Assistant and HTML name it: `de`, `de-AT`, `en-GB`, …; English for all others. */
export function wordsFor(language: unknown): CardWords {
  return typeof language === 'string' && language.toLowerCase().split('-')[0] === 'de' ? de : en;
}
