// A clock that goes on in a tab that nobody sees: browsers hold a page's own timers back to one a minute there, and a broker
// does not wait that long. It runs in a worker; where a page's Content-Security-Policy allows none the page's own has to do.

const TICK_MS = 1_000;
const HIDDEN_TICK_MS = 5_000;

const listeners = new Set<() => void>();
let stop: (() => void) | undefined;

/** Calls `listener` every second, in a hidden tab every five, until the function that this returns is called. */
export function onTick(listener: () => void): () => void {
  listeners.add(listener);
  stop ??= start();
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    stop?.();
    stop = undefined;
  };
}

function start(): () => void {
  const tick = (): void => [...listeners].forEach((listener) => listener());
  const timer = setInterval(tick, TICK_MS);
  const worker = startWorker(tick);
  return () => {
    clearInterval(timer);
    worker?.terminate();
  };
}

function startWorker(tick: () => void): Worker | undefined {
  if (typeof Worker !== 'function') return undefined;
  const url = URL.createObjectURL(new Blob([`setInterval(() => postMessage(0), ${HIDDEN_TICK_MS})`], { type: 'text/javascript' }));
  try {
    const worker = new Worker(url);
    worker.onmessage = tick;
    worker.onerror = () => undefined;
    return worker;
  } catch {
    return undefined;
  } finally {
    URL.revokeObjectURL(url);
  }
}
