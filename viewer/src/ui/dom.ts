// What the parts of the bar are made of. Texts are always written as text.

export const SVG = 'http://www.w3.org/2000/svg';

type Props = Record<string, string | boolean | number | undefined>;

/** An element with attributes; `false` and undefined leave one out. */
export function make<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, props: Props = {}, ...inside: (Node | string)[]): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) setTo(element, name, value);
  element.append(...inside);
  return element;
}

/** Only what changed is written: writing wakes screen readers and layout. */
export function setTo(element: Element, name: string, value: string | boolean | number | undefined): void {
  if (value === undefined || value === false) element.removeAttribute(name);
  else {
    const text = value === true ? '' : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** An icon of 24 by 24, drawn in lines. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [name, value] of [['viewBox', '0 0 24 24'], ['aria-hidden', 'true']] as const) svg.setAttribute(name, value);
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', path);
  svg.append(line);
  return svg;
}

/** The element that has the focus, inside of shadow roots, too. */
export function focused(): Element | null {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at;
}

/** Ids for labels; unique within a page. */
let ids = 0;
export const newId = (): string => `porthole-ui-${(ids += 1)}`;

/** Gives a file to the browser to be saved. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = make('a', { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser reads it later
}

/** A file's name: of the camera, with the reader's own time, without what file systems refuse. */
export function fileName(camera: string, at: Date, ending: string): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const name = camera.replace(/[\u0000-\u001f\\/:*?"<>|]+/g, ' ').replace(/\s+/g, ' ').replace(/^[\s.]+|[\s.]+$/g, '').slice(0, 60).trim();
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${name || 'camera'} ${day} ${two(at.getHours())}-${two(at.getMinutes())}-${two(at.getSeconds())}.${ending}`;
}
