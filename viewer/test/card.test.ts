// The card of Home Assistant's dashboards: what it makes of a configuration, and the words it has.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formOf, PLACE as PLACE_OF_CARD, readConfig, sizeOf } from '../src/card/config.ts';
import { de, en, wordsFor } from '../src/card/words.ts';
import { PLACE } from '../src/element/source.ts';

const LINK = 'http://camera:8080/#broker=ws://broker:9001&device=front-door';

test('a configuration becomes what the element is given', () => {
  assert.deepEqual(PLACE_OF_CARD, PLACE);
  assert.deepEqual(readConfig({ type: 'custom:porthole-card', link: ` ${LINK} ` }), { place: { link: LINK }, controls: false, ratio: 16 / 9, fit: undefined });
  const full = { whep: 'http://camera:8080/whep', token: 'T', name: 'Door', controls: true, aspect_ratio: '4:3', fit: 'cover' };
  assert.deepEqual(readConfig(full), { place: { whep: full.whep, token: 'T', name: 'Door' }, controls: true, ratio: 4 / 3, fit: 'cover' });
  // Home Assistant's own keys are passed over, and so are those of add-ons.
  assert.deepEqual(readConfig({ link: LINK, grid_options: { rows: 4 }, visibility: [], card_mod: null }).place, { link: LINK });
  const parts = { broker: 'ws://broker:9001', device: 'front-door', root: 'porthole', key: 'K', grant: 'G', secret: 'S' };
  assert.deepEqual(readConfig(parts).place, parts);
});

test('without a camera there are words, and what was lost on the way is not taken for nothing', () => {
  for (const config of [{}, { link: '' }, { link: '  ', controls: true }, { name: 'Door' }, { key: 'K', secret: '' }, { link: null }]) {
    assert.equal(readConfig(config).place, undefined, JSON.stringify(config));
  }
  assert.deepEqual(readConfig({ device: 'door', broker: '', key: '', secret: '' }).place, { device: 'door', key: '', secret: '' });
});

test('what cannot be used is refused in the words of the reader', () => {
  for (const config of [undefined, null, 'link', 5, [], [{}]]) assert.throws(() => readConfig(config, de), { message: de.noConfig });
  for (const value of [7, true, {}, ['x']]) {
    for (const name of PLACE) assert.throws(() => readConfig({ link: LINK, [name]: value }), { message: en.notText(name) }, name);
  }
  assert.throws(() => readConfig({ controls: 'yes' }), { message: en.notSwitch('controls') });
  assert.throws(() => readConfig({ fit: 'fill' }, de), { message: de.badFit('fill') });
  assert.throws(() => readConfig({ fit: { x: 'y'.repeat(1e6) } }), { message: en.badFit('object') });
  for (const ratio of ['0', '16:0', '0:9', '-1', '16:9:4', 'x', '1;color:red', '9%', '900%', 6, 0, NaN, Infinity, 1e300, true, {}, ['4:3']]) {
    assert.throws(() => readConfig({ aspect_ratio: ratio }), /aspect_ratio/, String(ratio));
  }
  assert.throws(() => readConfig({ aspect_ratio: 'y'.repeat(1e6) }), ({ message }: Error) => message.length < 200);
});

test('the ratio is written as in other cards, and gives the height', () => {
  const ratios: [unknown, number][] = [['16:9', 16 / 9], ['16x9', 16 / 9], ['4 / 3', 4 / 3], ['1.78', 1.78], [1.5, 1.5], ['50%', 2], ['', 16 / 9], [null, 16 / 9]];
  for (const [given, ratio] of ratios) assert.equal(readConfig({ aspect_ratio: given }).ratio, ratio, String(given));
  assert.deepEqual([16 / 9, 1, 5, 1 / 5].map(sizeOf), [6, 10, 2, 48]);
});

test('the form of the editor asks for everything that is read, in each language', () => {
  interface Field { name: string; type?: string; schema?: Field[]; selector?: { text?: { type?: string } } }
  const fieldsOf = (list: Field[]): Field[] => list.flatMap((field) => (field.schema ? fieldsOf(field.schema) : [field]));
  for (const words of [en, de]) {
    const form = formOf(words);
    const fields = fieldsOf(form.schema as Field[]);
    assert.deepEqual(fields.map(({ name }) => name).sort(), [...PLACE, 'aspect_ratio', 'controls', 'fit'].sort());
    assert.deepEqual(fields.filter(({ selector }) => selector?.text?.type === 'password').map(({ name }) => name), ['link', 'secret', 'token'], 'nobody reads them over a shoulder');
    for (const field of fields) assert.notEqual(form.computeLabel(field), field.name);
    assert.equal(form.computeHelper({ name: 'link' }), words.helpers.link);
    assert.deepEqual([form.computeLabel({ name: 'other' }), form.computeHelper({ name: 'other' })], ['other', undefined]);
  }
  assert.deepEqual(['de', 'de-AT', 'DE', 'en', 'fr', '', undefined, 7].map((language) => wordsFor(language).lang), ['de', 'de', 'de', 'en', 'en', 'en', 'en', 'en']);
  assert.deepEqual(Object.keys(de.helpers).sort(), Object.keys(en.helpers).sort());
});
