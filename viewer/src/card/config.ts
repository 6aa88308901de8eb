// What a dashboard says about the card, untrusted, made into what the element is given. Pure.

import type { Place } from '../element/source.ts';
import { en, type CardWords, type Field } from './words.ts';

/** The element's attributes that say where the camera is (a test compares them). Importing the element's list would bring its texts along. */
export const PLACE: readonly (keyof Place)[] = ['broker', 'device', 'root', 'key', 'grant', 'secret', 'name', 'link', 'whep', 'token'];

/** What the card shows and how. */
export interface Shown {
  /** Attributes of the element; undefined where nothing says which camera is meant. */
  place: Place | undefined;
  controls: boolean;
  /** Width by height. */
  ratio: number;
  fit: 'contain' | 'cover' | undefined;
}

const RATIO = 16 / 9;
const MOST = 5;
/** How Home Assistant counts the height of cards, and how wide its columns usually are. */
const UNIT_PX = 50;
const COLUMN_PX = 480;

/** Throws words that Home Assistant shows in the card's place. Keys that are Home Assistant's own are passed over. */
export function readConfig(config: unknown, words: CardWords = en): Shown {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw new Error(words.noConfig);
  const given = config as Record<string, unknown>;
  const place: Place = {};
  for (const name of PLACE) {
    const value = given[name];
    if (value === undefined || value === null) continue;
    // A number that YAML has read (007, 1e5) is no longer what was written.
    if (typeof value !== 'string') throw new Error(words.notText(name));
    // A secret that is there and empty has been lost on the way, and is left to the element to refuse.
    if (value.trim() !== '' || name === 'key' || name === 'grant' || name === 'secret') place[name] = value.trim();
  }
  const controls = given['controls'] ?? false;
  if (typeof controls !== 'boolean') throw new Error(words.notSwitch('controls'));
  const fit = given['fit'] ?? undefined;
  if (fit !== undefined && fit !== 'contain' && fit !== 'cover') throw new Error(words.badFit(text(fit)));
  const isNamed = place.link ?? place.whep ?? place.device ?? place.broker;
  return { place: isNamed === undefined ? undefined : place, controls, ratio: ratioOf(given['aspect_ratio'], words), fit };
}

/** As in Home Assistant's own cards: `16:9`, `16x9`, `16/9`, `1.78`, or the height in per cent of the width. */
function ratioOf(given: unknown, words: CardWords): number {
  if (given === undefined || given === null || given === '') return RATIO;
  const parts = /^\s*(\d+(?:\.\d+)?)\s*(?:(%)|[:/x]\s*(\d+(?:\.\d+)?))?\s*$/.exec(typeof given === 'number' ? String(given) : typeof given === 'string' ? given : '');
  const [, first, percent, second] = parts ?? [];
  const ratio = percent === undefined ? Number(first) / Number(second ?? 1) : 100 / Number(first);
  if (!(ratio >= 1 / MOST && ratio <= MOST)) throw new Error(words.badRatio(text(given)));
  return ratio;
}

/** For a message, at most so much of it. */
const text = (value: unknown): string => (typeof value === 'object' ? typeof value : String(value)).slice(0, 40);

/** Height in Home Assistant's units, for laying out columns. */
export const sizeOf = (ratio: number): number => Math.ceil(COLUMN_PX / ratio / UNIT_PX);

/** What Home Assistant's visual editor asks for; its labels and helps are in `formOf`. */
const schemaOf = (words: CardWords): object[] => {
  const line = (name: Field): object => ({ name, selector: { text: {} } });
  const concealed = (name: Field): object => ({ name, selector: { text: { type: 'password' } } });
  const fit = { mode: 'dropdown', options: [{ value: 'contain', label: words.contain }, { value: 'cover', label: words.cover }] };
  return [
    concealed('link'),
    line('name'),
    { type: 'grid', name: '', schema: [line('aspect_ratio'), { name: 'fit', selector: { select: fit } }] },
    { name: 'controls', selector: { boolean: {} } },
    {
      type: 'expandable', name: '', title: words.inParts, flatten: true,
      schema: [line('broker'), line('device'), line('root'), line('key'), line('grant'), concealed('secret'), line('whep'), concealed('token')],
    },
  ];
};

interface Named {
  name: string;
}

/** The form of the visual editor, as Home Assistant wants it from `getConfigForm`. */
export function formOf(words: CardWords): { schema: object[]; computeLabel: (field: Named) => string; computeHelper: (field: Named) => string | undefined } {
  const labels: Record<string, string | undefined> = words.labels;
  const helpers: Record<string, string | undefined> = words.helpers;
  return {
    schema: schemaOf(words),
    computeLabel: ({ name }) => labels[name] ?? name,
    computeHelper: ({ name }) => helpers[name],
  };
}
