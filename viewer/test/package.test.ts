// What is built: how much the page loads, and what is in the element's npm package.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { SOUND } from '../src/element/sounding.ts';
import { PLACE } from '../src/element/source.ts';

// The working directory is this package's (test.mjs).
const here = process.cwd();
const into = mkdtempSync(join(tmpdir(), 'porthole-built-'));
after(() => rmSync(into, { recursive: true, force: true }));
execFileSync(process.execPath, ['build.mjs', into], { stdio: 'pipe' });

const MOST_KIB = 90;

test(`everything that the page loads is less than ${MOST_KIB} KiB`, () => {
  const html = readFileSync(join(into, 'dist/index.html'), 'utf8');
  const named = [...html.matchAll(/(?:src|href)="([^"#:]+)"/g)].map(([, file]) => file!);
  for (const file of ['app.js', 'app.css', 'porthole-camera.js']) assert.ok(named.includes(file), `${file} is not in ${named.join(' ')}`);
  const sizes = ['index.html', ...new Set(named)].map((file) => [file, gzipSync(readFileSync(join(into, 'dist', file)), { level: 9 }).length] as const);
  const total = sizes.reduce((sum, [, size]) => sum + size, 0);
  assert.ok(total < MOST_KIB * 1024, `${(total / 1024).toFixed(1)} KiB: ${JSON.stringify(sizes)}`);
});

test('the page has what it takes from the element', () => {
  const read = (file: string): string => readFileSync(join(into, 'dist', file), 'utf8');
  const exported = /export\{([^}]*)\};?\s*$/.exec(read('porthole-camera.js'))?.[1]?.split(',').map((entry) => entry.split(' as ').at(-1)!.trim()) ?? [];
  const taken = [...read('app.js').matchAll(/import\{([^}]*)\}from"\.\/porthole-camera\.js"/g)].flatMap(([, names]) => names!.split(',').map((entry) => entry.split(' as ')[0]!.trim()));
  assert.ok(taken.length > 0);
  assert.deepEqual(taken.filter((name) => !exported.includes(name)), []);
});

test('the npm package has its files, and its types resolve', () => {
  const packed = execFileSync('npm', ['pack', '--json', '--offline', '--pack-destination', into], { cwd: join(into, 'dist-npm'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const [{ filename, files }] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }];
  const names = files.map(({ path }) => path).sort();
  assert.deepEqual(names, ['LICENSE', 'README.md', 'THIRD-PARTY.txt', 'custom-elements.json', 'package.json', 'porthole-camera.d.ts', 'porthole-camera.js', 'porthole-card.d.ts', 'porthole-card.js']);

  const module = join(into, 'user/node_modules/porthole-camera');
  mkdirSync(module, { recursive: true });
  execFileSync('tar', ['-xzf', join(into, filename), '--strip-components=1', '-C', module]);
  const uses = `
    import { PortholeCamera, type Reply } from 'porthole-camera';
    const camera: PortholeCamera = document.createElement('porthole-camera');
    ${PLACE.map((name) => `camera.${name} = 'text'; camera.${name} = null;`).join('\n')}
    camera.controls = true;
    camera.muted = false;
    camera.volume = 0.5;
    camera.addEventListener('talk', ({ detail }) => { const state: 'off' | 'starting' | 'on' = detail.state; console.log(state, detail.trouble?.error); });
    void camera.talk(!camera.talking.busy);
    camera.addEventListener('state', ({ detail }) => { const phase: 'live' | string = detail.phase; console.log(phase, detail.text); });
    const reply: Promise<Reply> = camera.set('bitrate', 900);
    // @ts-expect-error: there is no such method
    camera.fly();
    export { reply };
    import { PortholeCard } from 'porthole-camera/card';
    const card: PortholeCard = document.createElement('porthole-card');
    card.setConfig({ type: 'custom:porthole-card', link: 'text', aspect_ratio: '4:3', fit: 'cover', controls: true });
    // @ts-expect-error: neither of the two
    card.setConfig({ fit: 'fill' });`;
  writeFileSync(join(into, 'user/uses.ts'), uses);
  for (const resolution of ['bundler', 'nodenext']) {
    const tsc = [join(here, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--lib', 'es2022,dom', '--target', 'es2022',
      '--module', resolution === 'bundler' ? 'esnext' : 'nodenext', '--moduleResolution', resolution, join(into, 'user/uses.ts')];
    writeFileSync(join(into, 'user/package.json'), '{"type":"module"}');
    try {
      execFileSync(process.execPath, tsc, { stdio: 'pipe', encoding: 'utf8' });
    } catch (error) {
      assert.fail(`${resolution}: ${(error as { stdout: string }).stdout}`);
    }
  }
});

test('the manifest knows each attribute, and what the element has is declared', () => {
  const manifest = JSON.parse(readFileSync('npm/custom-elements.json', 'utf8')) as { modules: { declarations: Record<string, { name: string }[]>[] }[] };
  const element = manifest.modules[0]!.declarations[0]!;
  assert.deepEqual(element['attributes']!.map(({ name }) => name).sort(), [...PLACE, ...SOUND, 'controls'].sort());
  const styles = ['element/element.css', 'ui/bar.css'].map((file) => readFileSync(`src/${file}`, 'utf8')).join('\n');
  const properties = [...new Set([...styles.matchAll(/var\((--porthole-[a-z-]+)/g)].map(([, name]) => name!))].sort();
  assert.deepEqual(element['cssProperties']!.map(({ name }) => name).sort(), properties);
  const types = readFileSync('npm/porthole-camera.d.ts', 'utf8');
  for (const { name } of element['members']!) assert.match(types, new RegExp(`^  (readonly )?${name}[(:]`, 'm'), name);
});
