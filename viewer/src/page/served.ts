// What the daemon that served this page knows; a page from elsewhere has no such file.

import { parseServed, type Fields } from '../core/link.ts';

const SERVED_MS = 4_000;

export async function fetchServed(): Promise<Fields> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), SERVED_MS);
  try {
    const response = await fetch('viewer.json', { signal: abort.signal, cache: 'no-store' });
    return response.ok ? parseServed(await response.json()) : {};
  } catch {
    return {};
  } finally {
    clearTimeout(timer);
  }
}
