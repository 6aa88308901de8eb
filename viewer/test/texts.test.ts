import assert from 'node:assert/strict';
import { test } from 'node:test';
import { say, sayFlaws, sayUninvited, when } from '../src/core/words.ts';
import { de } from '../src/texts/de.ts';
import { en } from '../src/texts/en.ts';
import { chooseTexts } from '../src/texts/index.ts';
import { SESSION, World } from './world.ts';

/** All texts that are plain strings or functions, by their path. */
function leaves(of: object, at = ''): [path: string, text: unknown][] {
  return Object.entries(of).flatMap(([key, value]) => (
    typeof value === 'object' && value !== null ? leaves(value as object, `${at}.${key}`) : [[`${at}.${key}`, value] as [string, unknown]]
  ));
}

test('both languages have the same texts, and none is left out or left in English', () => {
  // Controls have names of their own, which are English.
  const all = (texts: typeof en): Map<string, unknown> => new Map(leaves({ ...texts, controls: {} }));
  const [english, german] = [all(en), all(de)];
  assert.deepEqual([...german.keys()], [...english.keys()]);
  const alike = new Set(['.words.live']);
  for (const [path, text] of german) {
    const other = english.get(path);
    assert.equal(typeof text, typeof other, path);
    if (typeof text !== 'string' || typeof other !== 'string') continue;
    assert.ok(text.trim() !== '', path);
    if (!alike.has(path) && other.length > 12) assert.notEqual(text, other, path);
  }
});

test('the language is that of the place, then the reader\'s first that is there, then English', () => {
  assert.equal(chooseTexts('de-CH', ['en']), de);
  assert.equal(chooseTexts('EN', ['de']), en);
  assert.equal(chooseTexts(undefined, ['fr', 'de-AT', 'en']), de);
  assert.equal(chooseTexts('fr', ['de']), de, 'a language that nobody wrote counts as none');
  assert.equal(chooseTexts(null, []), en);
  assert.equal(chooseTexts('__proto__', ['constructor', 'de']), de);
});

test('sentences and times are said in the language that was asked for', () => {
  const names = { camera: 'Haustür', broker: 'host:9001' };
  const world = new World().offered();
  world.down({ type: 'error', session: SESSION, code: 'busy', message: '', retryAfterS: 9 });
  assert.match(say(world.state, names, world.now, de).text, /^Haustür hat schon so viele Zuschauer/);
  world.down({ type: 'error', session: SESSION, code: '__proto__', message: 'oh' });
  assert.match(sayUninvited('Haustür', de).hint, /sudo porthole grant NAME/);
  assert.match(sayFlaws(['no-secret'], de).hint, /^Er nennt eine Einladung.* Kopieren Sie/);
  const noon = new Date(2026, 10, 3, 12, 0).getTime();
  assert.equal(when(noon, noon + 60_000, de), 'um 12:00');
  assert.equal(when(noon, noon + 86_400_000, de), 'am 3. November um 12:00');
});

test('a code that no text has a name for is a trouble inside the camera, whatever it is called', () => {
  for (const code of ['toString', '__proto__', 'a-code-of-the-future']) {
    const world = new World().offered();
    world.down({ type: 'error', session: SESSION, code, message: 'oh dear' });
    assert.match(world.say().text, /^Something went wrong in/, code);
    assert.match(world.say().hint, /oh dear\. /, code);
  }
});
