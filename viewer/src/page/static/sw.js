// Keeps the page's own files, so that an installed page opens without a network and can say so. Nothing else is ever kept: no
// picture, no answer of the device, and no link, whose fragment no request has.

const CACHE = 'porthole-page-1';
const FILES = ['./', 'app.js', 'porthole-camera.js', 'app.css', 'favicon.svg', 'porthole.webmanifest', 'icon-192.png'];
/** A network that says nothing for this long is none. */
const PATIENCE_MS = 3_000;

const own = new Set(FILES.map((file) => new URL(file, self.registration.scope).href));

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  const others = (names) => names.filter((name) => name.startsWith('porthole-page-') && name !== CACHE);
  event.waitUntil(caches.keys().then((names) => Promise.all(others(names).map((name) => caches.delete(name)))).then(() => self.clients.claim()));
});

self.addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  if (method === 'GET' && own.has(url.replace(/#.*/, ''))) event.respondWith(fresh(event.request));
});

/** The newest there is: from the daemon, and only without it what was kept. */
async function fresh(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  const asked = fetch(request).then((response) => {
    if (response.ok) cache.put(request, response.clone());
    return response;
  });
  if (!kept) return asked;
  const late = new Promise((done) => setTimeout(done, PATIENCE_MS, kept));
  return Promise.race([asked.catch(() => kept), late]);
}
