// The page: reads the link, puts the secret away, and shows the camera, or the cameras, that it names.

import { complete, lacksInvitation, merge, retyped, typedBroker, type Fields } from '../core/link.ts';
import '../element/index.ts';
import type { PortholeCamera } from '../element/element.ts';
import { Grid } from './grid.ts';
import { Links } from './keep.ts';
import { KeepButton } from './kept.ts';
import { fetchServed } from './served.ts';
import { Single } from './single.ts';
import { textsFor } from '../texts/index.ts';
import { isFramedByOthers } from '../ui/screen.ts';

const pageStart = performance.now();
document.documentElement.lang = textsFor().lang;
const links = new Links(() => sessionStorage, keptOnDevice);
const opened = links.open(location.hash);
let grid: Grid | undefined;
let fields: Fields = opened.cameras[0]!;
if (opened.address !== undefined) toAddress(opened.address);
const camera: PortholeCamera = document.createElement('porthole-camera');
const keepButton = new KeepButton(document.getElementById('keep') as HTMLButtonElement, links, []);

/** For tests and for automation; the README of this folder describes it. */
const porthole = {
  state: () => grid?.state() ?? ({ ...camera.state, device: camera.state.device ?? fields.device }),
  stats: () => camera.stats(),
  get timings() {
    return { ...camera.timings, pageStart };
  },
};
Object.assign(window, { porthole });

/** What is kept here opens for who opens the page, and not for another site that shows it in a frame. */
function keptOnDevice(): Storage {
  if (isFramedByOthers()) throw new Error('a frame of another site');
  return localStorage;
}

/** In place of what is there: no further copy of a link in the history. */
function toAddress(hash: string): void {
  if (hash !== location.hash) history.replaceState(history.state, '', hash);
}

async function main(): Promise<void> {
  const parts = document.getElementById('parts')!;
  const all = fields.broker && !fields.device && !fields.key ? complete({ ...fields, device: 'any' }, location.protocol) : [];
  if (opened.cameras.length > 1 || !Array.isArray(all)) {
    grid = new Grid(parts.parentElement!);
    parts.remove();
    if (Array.isArray(all)) grid.show(opened.cameras);
    else grid.showAll(all, fields);
    return keepButton.of(opened.cameras);
  }
  if (!fields.broker || !fields.device) fields = merge(fields, await fetchServed());
  new Single(camera, fields, (broker, device) => {
    toAddress(links.hold([retyped(fields, typedBroker(broker, location.protocol), device.trim())]));
    location.reload();
  });
  // Only now, so that it doesn't say first that it knows of no camera.
  camera.id = 'camera';
  camera.setAttribute('controls', '');
  camera.append(...parts.children);
  parts.replaceWith(camera);
  if (!lacksInvitation(fields)) keepButton.of([fields]);
}

// Another link in this tab.
window.addEventListener('hashchange', () => location.reload());

void main();
