// Bundles the page into dist/, which the daemon's build embeds, and the element's npm package into dist-npm/ (or both into the folder
// that is named). Same input, same output: no dates, no paths.

import { build, transform } from 'esbuild';
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** Styles of a shadow root: text in the module, without blanks and comments. */
const styleTexts = {
  name: 'style-texts',
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, 'utf8'), { loader: 'css', minify: true, charset: 'utf8' });
      return { contents: code, loader: 'text' };
    });
  },
};

/** The page takes whatever is not its own from the element's module, so that there is one copy of it. */
const fromTheElement = {
  name: 'from-the-element',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\// }, ({ path }) => (path.startsWith('../page/') ? undefined : { path: ELEMENT, external: true }));
  },
};

/** The card takes the element from the module beside it, and what is small and pure of it it has itself. */
const withTheElement = {
  name: 'with-the-element',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/element\/index\.ts$/ }, () => ({ path: ELEMENT, external: true }));
  },
};

process.chdir(fileURLToPath(new URL('.', import.meta.url)));
const into = process.argv[2] ?? '.';
const [dist, npm] = [`${into}/dist`, `${into}/dist-npm`];
for (const folder of [dist, npm]) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
}

const options = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2020',
  charset: 'utf8',
  legalComments: 'none', // THIRD-PARTY.txt says it in full
  banner: { js: '/* Porthole viewer, MIT OR Apache-2.0. Licences of what it contains: THIRD-PARTY.txt */' },
  logLevel: 'warning',
};
const ELEMENT = './porthole-camera.js';
const CARD = './porthole-card.js';
const shared = await importsOfThePage();
await build({
  ...options,
  stdin: { contents: ["export * from './element/index.ts';", ...shared].join('\n'), resolveDir: 'src', loader: 'ts' },
  outfile: `${dist}/${ELEMENT}`,
  plugins: [styleTexts],
});
await build({ ...options, entryPoints: ['src/page/app.ts'], outdir: dist, plugins: [fromTheElement] });
await build({ ...options, entryPoints: ['src/card/index.ts'], outfile: `${dist}/${CARD}`, plugins: [styleTexts, withTheElement] });
await build({ ...options, entryPoints: ['src/page/app.css'], outdir: dist });
for (const file of ['index.html', 'favicon.svg']) await copyFile(`src/page/${file}`, `${dist}/${file}`);
for (const file of await readdir('src/page/static')) await copyFile(`src/page/static/${file}`, `${dist}/${file}`);
await writeFile(`${dist}/THIRD-PARTY.txt`, await thirdParty());

for (const file of [ELEMENT, CARD, 'THIRD-PARTY.txt']) await copyFile(`${dist}/${file}`, `${npm}/${file}`);
for (const file of await readdir('npm')) await copyFile(`npm/${file}`, `${npm}/${file}`);
await copyFile('../LICENSE', `${npm}/LICENSE`);

for (const file of (await readdir(dist)).sort()) {
  console.log(`dist/${file}  ${((await stat(`${dist}/${file}`)).size / 1024).toFixed(1)} KiB`);
}

/** The licences of everything that can be in the element's module: our dependencies and theirs. */
async function thirdParty() {
  const allowed = /^(MIT|ISC|0BSD|BSD-[23]-Clause|Apache-2\.0)$/;
  const lock = JSON.parse(await readFile('package-lock.json', 'utf8'));
  const parts = ['porthole-camera.js contains parts of the packages below.\n'];
  for (const [path, { version, license, dev }] of Object.entries(lock.packages)) {
    const name = path.split('node_modules/').pop();
    if (path === '' || dev || name.startsWith('@types/') || name === 'undici-types') continue;
    if (!allowed.test(license ?? '')) throw new Error(`${name} has the licence "${license}", which is not on the list`);
    const file = (await readdir(path)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(`${path}/${file}`, 'utf8') : `Licence: ${license}\n`;
    parts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return parts.join(`\n${'-'.repeat(80)}\n\n`);
}

/** What the page imports from beside its own folder, as exports of the element's module. They are no part of its interface. */
async function importsOfThePage() {
  const names = new Map();
  for (const file of (await readdir('src/page')).filter((name) => name.endsWith('.ts'))) {
    const source = await readFile(`src/page/${file}`, 'utf8');
    for (const [, type, list, from] of source.matchAll(/^import (type )?\{([^}]*)\} from '\.\.\/([^']+)';$/gm)) {
      if (type) continue;
      for (const name of list.split(',').map((entry) => entry.trim()).filter((entry) => entry !== '' && !entry.startsWith('type '))) {
        if (!/^\w+$/.test(name)) throw new Error(`src/page/${file} imports "${name}": import it by its own name`);
        if ((names.get(name) ?? from) !== from) throw new Error(`"${name}" is in ${from} and in ${names.get(name)}`);
        names.set(name, from);
      }
    }
    const others = source.match(/^(import \*|import (?!type )\w|export .* from|.*\bimport\().*'\.\.\//m);
    if (others) throw new Error(`src/page/${file}: write imports as import { … } from '../…';`);
  }
  return [...names].sort().map(([name, from]) => `export { ${name} } from './${from}';`);
}
