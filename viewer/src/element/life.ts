// What happens to the page around every element of it: hidden, frozen, asleep, without a network, left, and come back.

export type LifeEvent =
  | { type: 'hidden' }
  | { type: 'wake'; asleepMs: number }
  | { type: 'network'; up: boolean }
  | { type: 'network-changed' }
  | { type: 'leave' }
  | { type: 'return' }; // from the browser's cache of pages

/** A clock that jumps this far between two looks was asleep. */
const JUMP_MS = 5_000;

const listeners = new Set<(event: LifeEvent) => void>();
let ending: AbortController | undefined;

/** Tells `listener` until the function that this returns is called. The page's own events are listened to while anybody is told. */
export function watchLife(listener: (event: LifeEvent) => void): () => void {
  listeners.add(listener);
  ending ??= listen();
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    ending?.abort();
    ending = undefined;
  };
}

function tell(event: LifeEvent): void {
  for (const listener of [...listeners]) listener(event);
}

function listen(): AbortController {
  const end = new AbortController();
  const { signal } = end;
  let lastLook = Date.now();
  const look = (): number => {
    const gap = Date.now() - lastLook;
    lastLook = Date.now();
    return gap;
  };
  const wake = (): void => tell({ type: 'wake', asleepMs: look() });

  const timer = setInterval(() => {
    // A laptop that sleeps with the page in view sends no event at all.
    if (document.hidden) return;
    const gap = look();
    if (gap > JUMP_MS) tell({ type: 'wake', asleepMs: gap });
  }, 1_000);
  signal.addEventListener('abort', () => clearInterval(timer));

  const on = (target: EventTarget | undefined, type: string, hear: (event: Event) => void): void =>
    target?.addEventListener(type, hear, { signal });
  on(document, 'visibilitychange', () => {
    if (!document.hidden) return wake();
    look();
    tell({ type: 'hidden' });
  });
  // Of a page that was frozen: it may go on in the background.
  on(document, 'resume', () => {
    if (!document.hidden) wake();
  });
  on(window, 'online', () => tell({ type: 'network', up: true }));
  on(window, 'offline', () => tell({ type: 'network', up: false }));
  on(window, 'pagehide', () => tell({ type: 'leave' }));
  on(window, 'pageshow', (event) => {
    if ((event as PageTransitionEvent).persisted) tell({ type: 'return' });
  });

  // Its `change` also tells of new estimates of speed; only another kind of network matters here.
  const connection = (navigator as { connection?: EventTarget & { type?: string } }).connection;
  let kind = connection?.type;
  on(connection, 'change', () => {
    if (connection?.type !== kind) tell({ type: 'network-changed' });
    kind = connection?.type;
  });
  return end;
}
