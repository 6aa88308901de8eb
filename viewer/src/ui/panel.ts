// A panel of the bar: a titled box that can be closed. It keeps nobody in: the picture and the bar stay usable.

import { icon, make, newId } from './dom.ts';
import { ICONS } from './icons.ts';

export class Panel {
  readonly element: HTMLElement;

  constructor(name: string, title: string, close: string, body: HTMLElement, onClose: () => void) {
    const heading = make('h2', { id: newId() }, title);
    const button = make('button', { type: 'button', class: 'ui-icon', part: 'close', 'aria-label': close, title: `${close} (Esc)` }, icon(ICONS.close));
    button.addEventListener('click', onClose);
    // Its body scrolls, so it has to be reachable by the keyboard also where nothing in it is.
    const scrolled = make('div', { class: 'ui-body', tabindex: 0, role: 'group', 'aria-labelledby': heading.id }, body);
    this.element = make(
      'section',
      { id: newId(), class: 'ui-panel', part: `panel panel-${name}`, role: 'dialog', 'aria-labelledby': heading.id, tabindex: -1, hidden: true },
      make('header', {}, heading, button),
      scrolled,
    );
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  open(): void {
    this.element.hidden = false;
    this.element.focus({ preventScroll: true });
  }

  close(): void {
    this.element.hidden = true;
  }
}
