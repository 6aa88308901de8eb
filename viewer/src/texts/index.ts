// Which language: the `lang` that is nearest to the element, else the reader's own, else English.

import { de } from './de.ts';
import { en, type Texts } from './en.ts';

export type { Texts } from './en.ts';

const ALL: readonly Texts[] = [en, de];

/** `lang` as HTML has it, `preferred` as `navigator.languages` has it: the first that there are texts for. */
export function chooseTexts(lang: string | null | undefined, preferred: readonly string[]): Texts {
  for (const tag of [lang, ...preferred]) {
    const found = ALL.find((texts) => texts.lang === tag?.toLowerCase().split('-')[0]);
    if (found) return found;
  }
  return en;
}

/** The texts for what stands at this place of a document; without one, for this reader. */
export function textsFor(element?: Element | null): Texts {
  return chooseTexts(element && langAt(element), typeof navigator === 'undefined' ? [] : navigator.languages ?? []);
}

/** The nearest `lang`, through the shadow roots around it. */
function langAt(element: Element): string | null {
  for (let at: Element | undefined = element; at; ) {
    const named = at.closest('[lang]');
    if (named) return named.getAttribute('lang');
    const root = at.getRootNode();
    at = root instanceof ShadowRoot ? root.host : undefined;
  }
  return null;
}
