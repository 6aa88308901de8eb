// The list of keys.

import type { Texts } from '../texts/index.ts';
import { make } from './dom.ts';

export function keyList({ keys: t }: Texts): HTMLElement {
  const row = (keys: string[], does: string): HTMLElement => (
    make('div', {}, make('dt', {}, ...keys.flatMap((key) => [make('kbd', {}, key), ' '])), make('dd', {}, does))
  );
  return make(
    'dl',
    { class: 'ui-keys' },
    row(['F'], t.f), row(['P'], t.p), row(['S'], t.s), row(['R'], t.r), row(['M'], t.m), row(['T'], t.t), row(['E'], t.e), row(['I'], t.i),
    row(['+', '−', '0'], t.zoom), row([t.arrowKeys], t.arrows), row(['?'], t.help), row([t.escapeKey], t.escape),
  );
}
