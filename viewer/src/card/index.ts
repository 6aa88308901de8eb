// The module `porthole-card.js`: tells Home Assistant's dashboards of the card. It takes the element from the module beside it.

import '../element/index.ts';
import { PortholeCard } from './card.ts';
import { wordsFor } from './words.ts';

export { PortholeCard };

declare global {
  interface Window {
    /** Home Assistant's list of the cards that are not its own. */
    customCards?: { type: string; name: string; description: string; preview: boolean }[];
  }
}

// Twice on a page, from two devices, the first one counts.
if (!customElements.get('porthole-card')) {
  customElements.define('porthole-card', PortholeCard);
  const { name, description } = wordsFor(document.documentElement.lang);
  // Without a link there is nothing to see in the list.
  (window.customCards ??= []).push({ type: 'porthole-card', name, description, preview: false });
}
