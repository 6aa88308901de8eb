// Styles of a shadow root. A constructed sheet is shared by all elements of a page, and no Content-Security-Policy is in its way.

const sheets = new Map<string, CSSStyleSheet>();

/** Adds `css` to `root`'s styles, once. */
export function adopt(root: ShadowRoot, css: string): void {
  if (!('adoptedStyleSheets' in root) || typeof CSSStyleSheet.prototype.replaceSync !== 'function') {
    const style = document.createElement('style'); // Safari before 16.4
    style.textContent = css;
    root.append(style);
    return;
  }
  let sheet = sheets.get(css);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    sheets.set(css, sheet);
  }
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}
