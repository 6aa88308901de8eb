// Runs test/*.test.ts with Node's own runner. Node 18 reads no TypeScript, so esbuild strips the types first.

import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('.', import.meta.url)));
const out = 'node_modules/.cache/porthole-test';
const tests = (await readdir('test')).filter((file) => file.endsWith('.test.ts')).sort();
await rm(out, { recursive: true, force: true });
await build({
  entryPoints: tests.map((file) => `test/${file}`),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  external: ['mqtt-packet'], // CommonJS inside, which finds Node's own modules only by itself
  loader: { '.css': 'text' },
  platform: 'node',
  format: 'esm',
  target: 'node18',
  sourcemap: 'inline',
  logLevel: 'warning',
});
const files = tests.map((file) => `${out}/${file.replace(/\.ts$/, '.mjs')}`);
const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...files], { stdio: 'inherit' });
process.exit(run.status ?? 1);
