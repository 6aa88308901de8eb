// The bar over a drawn picture: `node test/bar/serve.mjs`, then open what it prints.

import { mountBar } from '../../src/ui/bar.ts';
import { FakeCamera } from './fake.ts';

const host = document.querySelector('#camera') as HTMLElement;
const root = host.attachShadow({ mode: 'open' });
const css = ':host{display:block;position:relative;width:100%;height:100%;container-type:size;overflow:hidden;background:#0b0f14;font:1rem/1.5 system-ui,sans-serif}'
  + 'video{position:absolute;inset:0;width:100%;height:100%;object-fit:contain}';
const video = document.createElement('video');
video.muted = video.autoplay = video.playsInline = true;
const sheet = new CSSStyleSheet();
sheet.replaceSync(css);
root.adoptedStyleSheets = [sheet];
root.append(video);

const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [1280, 720];
const context = canvas.getContext('2d') as CanvasRenderingContext2D;
let n = 0;
setInterval(() => {
  n += 1;
  for (let x = 0; x < 16; x++) {
    context.fillStyle = `hsl(${x * 22 + n} 60% ${30 + x * 3}%)`;
    context.fillRect(x * 80, 0, 80, 720);
  }
  context.fillStyle = '#fff';
  context.font = '80px sans-serif';
  context.fillText(String(n), 560, 380);
}, 40);
video.srcObject = canvas.captureStream(25);
void video.play();

const camera = new FakeCamera(video);
camera.measure(performance.now());
const bar = mountBar(root, camera);
Object.assign(window, { camera, bar, root });
const wanted = new URLSearchParams(location.hash.slice(1));
for (const name of wanted.getAll('press')) document.body.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, composed: true }));
