// "Keep this camera on this device": the button, and the worker that lets a kept camera's page open without a network.

import type { Fields } from '../core/link.ts';
import type { Links } from './keep.ts';
import { textsFor } from '../texts/index.ts';
import { isFramedByOthers } from '../ui/screen.ts';

export class KeepButton {
  constructor(
    private readonly button: HTMLButtonElement,
    private readonly links: Links,
    private cameras: readonly Fields[],
  ) {
    button.addEventListener('click', () => this.toggle());
    if (links.kept().length > 0) installWorker();
    this.show();
  }

  /** What the page shows is known better now. */
  of(cameras: readonly Fields[]): void {
    this.cameras = cameras;
    this.show();
  }

  private toggle(): void {
    if (this.links.isKept(this.cameras)) {
      this.links.forget(this.cameras);
      if (this.links.kept().length === 0) removeWorker();
    } else if (this.links.keep(this.cameras)) installWorker();
    this.show();
  }

  private show(): void {
    const kept = this.links.isKept(this.cameras);
    const text = textsFor().page[this.cameras.length > 1 ? (kept ? 'forgetAll' : 'keepAll') : kept ? 'forget' : 'keep'];
    this.button.hidden = isFramedByOthers() || this.cameras.length === 0 || this.cameras.some(({ device, broker }) => !device || !broker);
    this.button.setAttribute('aria-pressed', String(kept));
    this.button.setAttribute('aria-label', text);
    this.button.title = text;
  }
}

/** Where the browser knows such workers: over https and on this very machine. A frame is nobody's app. */
function installWorker(): void {
  if (window.top === window) void workers()?.register('sw.js').catch((error: unknown) => console.debug('porthole: worker', error));
}

function removeWorker(): void {
  const remove = async (): Promise<void> => {
    await (await workers()?.getRegistration())?.unregister();
    for (const name of await caches.keys()) if (name.startsWith('porthole-page-')) await caches.delete(name);
  };
  if (workers()) void remove().catch((error: unknown) => console.debug('porthole: worker', error));
}

const workers = (): ServiceWorkerContainer | undefined => (window.isSecureContext ? (navigator as Partial<Navigator>).serviceWorker : undefined);
