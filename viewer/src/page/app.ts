// The page: reads the link, starts the player or asks for what is missing, and passes on what happens to the browser.

import { complete, lacksInvitation, merge, parseServed, retyped, typedBroker, type Fields, type Flaw, type Link } from '../core/link.ts';
import { bearerToken } from '../core/access.ts';
import { Player } from '../element/player.ts';
import { Fallback } from '../net/fallback.ts';
import { Links } from './keep.ts';
import { KeepButton } from './kept.ts';
import { pageTexts } from './texts.ts';
import { View } from './view.ts';
import { sayFlaws, sayUninvited, type Say } from '../core/words.ts';

const SERVED_MS = 4_000;
/** A clock that jumps this far between two looks was asleep. */
const JUMP_MS = 5_000;

let player: Player | undefined;
const links = new Links(() => sessionStorage, () => localStorage);
const opened = links.open(location.hash);
let fields: Fields = opened.cameras[0]!;
if (opened.address !== undefined) toAddress(opened.address);
let shown: Say = { phase: 'starting', text: 'Starting.', hint: '', retry: false };
const pageStart = performance.now();

const view = new View({
  retry: () => player?.hear({ type: 'retry' }),
  play: () => void player?.play(),
  connect: (broker, device) => {
    const typed = retyped(fields, typedBroker(broker, location.protocol), device.trim());
    toAddress(links.hold([typed]));
    location.reload();
  },
});

/** For tests and for automation; the README of this folder describes it. */
const porthole = {
  state: () => ({
    ...shown,
    attempt: player?.attempt ?? 0,
    device: fields.device,
    name: player?.name,
    viewer: player?.viewer,
    session: player?.session,
    brokerConnected: player?.brokerIsOpen ?? false,
  }),
  stats: async () => (await player?.stats()) ?? { framesDecoded: 0 },
  get timings() {
    return { ...player?.timings, pageStart };
  },
};
Object.assign(window, { porthole });

const keepButton = new KeepButton(document.getElementById('keep') as HTMLButtonElement, links, []);

/** In place of what is there: no further copy of a link in the history. */
function toAddress(hash: string): void {
  if (hash !== location.hash) history.replaceState(history.state, '', hash);
}

function show(say: Say): void {
  shown = say;
  view.show(say);
}

async function main(): Promise<void> {
  view.showName(fields.device ?? 'Camera');
  if (!fields.broker || !fields.device) fields = merge(fields, await fetchServed());
  if (lacksInvitation(fields)) return refuse();
  const link = complete(fields, location.protocol);
  if (Array.isArray(link)) return askFor(link);
  keepButton.of([fields]);
  watch(link);
}

/** What the daemon that served this page knows; a page from elsewhere has no such file. */
async function fetchServed(): Promise<Fields> {
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

function refuse(): void {
  const name = fields.name ?? fields.device ?? 'This camera';
  show(sayUninvited(name));
  view.showName(name);
}

function askFor(flaws: Flaw[]): void {
  const say = sayFlaws(flaws);
  show(say);
  view.showName(fields.name ?? fields.device ?? 'Camera');
  if (say.phase === 'setup') view.fillForm(fields.broker ?? '', fields.device ?? '');
}

function watch(link: Link): void {
  let asked = false;
  const update = (): void => {
    const said = started.say();
    fallback.hear(said, started.attempt);
    const say = fallback.over(said, pageTexts());
    show(say);
    view.turn(started.turn);
    view.showName(started.name);
    view.showDelay(started.glassToGlassMs);
    if (say.code !== 'broker-refused' || asked) return;
    asked = true; // whose broker that was decides what its refusal means
    void fetchServed().then((served) => {
      started.ownBroker = served.ownBroker;
      update();
    });
  };
  const started = new Player(link, view.video, update);
  const fallback = new Fallback({
    // Only the page's own origin gets the token: what a broker says of addresses is not to be trusted with it.
    base: async () => ((await fetchServed()).device === link.device ? document.baseURI : undefined),
    token: link.secret === undefined ? undefined : bearerToken(link.secret),
    onPicture: (picture) => view.showPicture(picture),
    retry: () => started.hear({ type: 'retry' }),
    changed: () => update(),
  });
  document.addEventListener('visibilitychange', () => fallback.setHidden(document.hidden));
  player = started;
  listen(started);
  started.start();
  if (!navigator.onLine) started.hear({ type: 'network', up: false });
}

function listen(to: Player): void {
  let lastLook = Date.now();
  const look = (): number => {
    const gap = Date.now() - lastLook;
    lastLook = Date.now();
    return gap;
  };
  const wake = (): void => to.wake(look());

  setInterval(() => {
    // A laptop that sleeps with the page in view sends no event at all.
    if (document.hidden) return;
    const gap = look();
    if (gap > JUMP_MS) to.wake(gap);
  }, 1_000);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      look();
      to.hear({ type: 'hidden', hidden: true });
    } else wake();
  });
  // Of a page that was frozen: it may go on in the background.
  document.addEventListener('resume', () => {
    if (!document.hidden) wake();
  });
  window.addEventListener('online', () => to.hear({ type: 'network', up: true }));
  window.addEventListener('offline', () => to.hear({ type: 'network', up: false }));

  // Its `change` also tells of new estimates of speed; only another kind of network matters here.
  const connection = (navigator as { connection?: EventTarget & { type?: string } }).connection;
  let kind = connection?.type;
  connection?.addEventListener('change', () => {
    if (connection.type !== kind) to.hear({ type: 'network-changed' });
    kind = connection.type;
  });

  window.addEventListener('pagehide', () => to.leave());
}

// A page that comes back from the browser's cache has hung up: start afresh. The same for another link in this tab.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});
window.addEventListener('hashchange', () => location.reload());

void main();
