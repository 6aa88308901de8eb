import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseInfo, parseState } from '../src/core/status.ts';
import { de } from '../src/texts/de.ts';
import { en } from '../src/texts/en.ts';
import { cropOf, fieldsOf } from '../src/ui/fields.ts';
import { errorWords } from '../src/ui/settings.ts';

const INFO = {
  features: ['settings', 'rotate', 'mirror', 'overlay', 'scene', 'crop', 'privacy'], scenes: ['day', 'night'],
  camera: { modes: [{ width: 640, height: 480, fps: [30] }, { width: 1280, height: 720, fps: [30] }, { width: 1280, height: 720, fps: [10] }] },
  controls: [
    { name: 'brightness', type: 'int', min: -64, max: 64, step: 1, default: 0 },
    { name: 'exposure', type: 'int', min: 1, max: 9, step: 0, inactive: true },
    { name: 'power_line_frequency', type: 'menu', menu: { 0: 'Disabled', 2: '60 Hz' } },
    { name: 'white_balance_automatic', type: 'bool', read_only: true },
    { name: 'broken', type: 'int', min: 5, max: 5 },
  ],
};
const STATE = {
  camera: { state: 'live', width: 480, height: 640 }, encoder: { ceiling: 2_490_000 },
  picture: { rotate: 90, mirror: true, overlay: 'x', scene: null, crop: [0.5, 0.5, 0.5, 0.5] },
  controls: { brightness: -3, power_line_frequency: 2, white_balance_automatic: 1 },
};
const fields = (info: object, state: object, texts = en) => fieldsOf(parseInfo(JSON.stringify(info)), parseState(JSON.stringify(state)), texts);

test('what can be set is what the device has, with its values', () => {
  const all = fields(INFO, STATE);
  const of = (name: string) => all.find((field) => field.name === name);
  assert.deepEqual(all.map(({ name }) => name), [
    'resolution', 'bitrate', 'rotate', 'mirror', 'scene', 'overlay',
    'control/brightness', 'control/exposure', 'control/power_line_frequency', 'control/white_balance_automatic',
  ]);
  assert.deepEqual([of('resolution')?.value, of('resolution')?.options?.length], ['640x480', 2], 'as the camera gives it, not as it is turned');
  assert.deepEqual([of('bitrate')?.value, of('bitrate')?.options?.[0]?.[0]], ['2490', 'auto']);
  assert.deepEqual([of('rotate')?.value, of('mirror')?.value, of('scene')?.value], ['90', true, '']);
  assert.deepEqual([of('control/brightness')?.value, of('control/brightness')?.min], [-3, -64]);
  assert.deepEqual([of('control/exposure')?.step, of('control/exposure')?.fixed], [1, en.settings.inactive]);
  assert.deepEqual([of('control/power_line_frequency')?.value, of('control/power_line_frequency')?.options], ['2', [['0', 'Disabled'], ['2', '60 Hz']]]);
  assert.deepEqual([of('control/white_balance_automatic')?.value, of('control/white_balance_automatic')?.fixed], [true, en.settings.readOnly]);
});

test('names are readable, and the common ones in the reader\'s language', () => {
  const labels = (texts = en) => fields(INFO, STATE, texts).slice(-4).map(({ label }) => label);
  assert.deepEqual(labels(), ['Brightness', 'Exposure', 'Power line frequency', 'White balance automatic']);
  assert.deepEqual(labels(de), ['Helligkeit', 'Exposure', 'Netzfrequenz', 'Weißabgleich, automatisch']);
});

test('a device that says little or nonsense has little to set', () => {
  assert.deepEqual(fields({}, {}), []);
  assert.deepEqual(fields({ features: 'all', controls: 7, camera: { modes: [null, {}] } }, { controls: [], picture: 1 }), []);
  assert.deepEqual(fields({ features: ['settings'] }, {}).map(({ name, value }) => [name, value]), [['bitrate', undefined]]);
  assert.deepEqual(fields({ features: ['scene'] }, {}), [], 'no scene to choose');
});

test('a part of what is shown is told as a part of the whole', () => {
  assert.deepEqual(cropOf([0.25, 0.5, 0.5, 0.5]), [0.25, 0.5, 0.5, 0.5]);
  assert.deepEqual(cropOf([0.5, 0, 0.5, 1], parseState(JSON.stringify(STATE)).picture?.crop), [0.75, 0.5, 0.25, 0.5]);
});

test('a refusal is said in the reader\'s words, and the device is quoted where only it knows', () => {
  assert.equal(errorWords({ ok: false, error: 'forbidden', message: 'it needs control' }, de), de.settings.errors['forbidden']);
  assert.match(errorWords({ ok: false, error: 'bad-message', message: '9 is not between 0 and 3' }, de), /9 is not between/);
  assert.match(errorWords({ ok: false, error: 'there is no such setting' }, en), /no such setting/);
  for (const error of ['__proto__', 'toString', undefined]) assert.equal(typeof errorWords({ ok: false, ...(error && { error }) }, en), 'string');
});

test('the microphone has a switch of its own, where there is one', () => {
  const of = (features: string[], state: object) => fields({ features }, state).map(({ name, group, kind, value }) => [name, group, kind, value]);
  assert.deepEqual(of(['talk'], {}), []);
  assert.deepEqual(of(['audio'], {}), [['audio', 'sound', 'switch', true]]);
  assert.deepEqual(of(['audio'], { audio: { on: 'OFF' } }), [['audio', 'sound', 'switch', false]]);
});
