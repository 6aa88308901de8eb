import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileName } from '../src/ui/dom.ts';
import { meant } from '../src/ui/keys.ts';
import { PACE_MS, Pacer } from '../src/ui/pacer.ts';
import { line, range } from '../src/ui/plot.ts';
import { keyed, limited, MOST, moved, pinched, roomOf, visible, wheelFactor, WHOLE, zoomed, type Room } from '../src/ui/zoom.ts';

const ROOM: Room = { viewWidth: 800, viewHeight: 600, width: 800, height: 450 };

test('the picture lies in its box as the browser lays it, and turned by a quarter its sides change places', () => {
  assert.deepEqual(roomOf({ width: 800, height: 600 }, { width: 1280, height: 720 }, 'contain', false), ROOM);
  assert.deepEqual(
    roomOf({ width: 600, height: 800 }, { width: 1280, height: 720 }, 'contain', true),
    { viewWidth: 800, viewHeight: 600, width: 337.5, height: 600 },
  );
  assert.deepEqual(roomOf({ width: 800, height: 600 }, { width: 1280, height: 720 }, 'cover', false), { viewWidth: 800, viewHeight: 600, width: 800, height: 600 });
  assert.deepEqual(roomOf({ width: 800, height: 600 }, { width: 0, height: 0 }, 'contain', false).width, 800, 'before the first picture');
});

test('what is under the pointer stays there', () => {
  const from = zoomed(WHOLE, 4, 0, 0, ROOM);
  const to = zoomed(from, 1.5, 100, -50, ROOM);
  const point = (zoom: typeof from): [number, number] => [(100 - zoom.x) / zoom.scale, (-50 - zoom.y) / zoom.scale];
  assert.deepEqual(point(to).map(Math.round), point(from).map(Math.round));
});

test('nothing moves the picture beyond its borders, and nothing breaks it', () => {
  for (const [x, y] of [[1e9, 1e9], [-1e9, -1e9], [NaN, Infinity]] as const) {
    const zoom = limited({ scale: 3, x, y }, ROOM);
    assert.ok(Math.abs(zoom.x) <= (800 * 3 - 800) / 2 && Math.abs(zoom.y) <= (450 * 3 - 600) / 2, JSON.stringify(zoom));
  }
  assert.deepEqual(moved({ scale: 1.2, x: 0, y: 0 }, 0, 500, ROOM).y, 0, 'smaller than the view: in the middle');
  assert.equal(zoomed(WHOLE, 1e9, 5, 5, ROOM).scale, MOST);
  assert.deepEqual(zoomed({ scale: 2, x: 300, y: 10 }, 0.01, 5, 5, ROOM), WHOLE);
  assert.deepEqual(limited({ scale: NaN, x: 1, y: 1 }, ROOM), WHOLE);
});

test('two fingers enlarge and move', () => {
  const before: [{ x: number; y: number }, { x: number; y: number }] = [{ x: -50, y: 0 }, { x: 50, y: 0 }];
  assert.deepEqual(pinched(WHOLE, before, [{ x: -100, y: 0 }, { x: 100, y: 0 }], ROOM), { scale: 2, x: 0, y: 0 });
  const both = pinched(WHOLE, before, [{ x: -80, y: 0 }, { x: 120, y: 0 }], ROOM);
  assert.deepEqual([both.scale, both.x], [2, 20]);
  assert.equal(pinched(WHOLE, [{ x: 1, y: 1 }, { x: 1, y: 1 }], before, ROOM).scale, MOST, 'fingers in one place divide by nothing');
});

test('keys enlarge, reduce, move and reset', () => {
  const large = keyed(WHOLE, '+', ROOM);
  assert.ok(large && large.scale > 1);
  assert.deepEqual(keyed(large, '-', ROOM), WHOLE);
  assert.deepEqual(keyed(large, '0', ROOM), WHOLE);
  assert.ok((keyed(large, 'ArrowRight', ROOM)?.x ?? 0) < 0, 'the view goes to the right');
  assert.equal(keyed(WHOLE, 'ArrowRight', ROOM), undefined, 'the page may scroll');
  assert.equal(keyed(large, 'x', ROOM), undefined);
  assert.ok(wheelFactor(-100, 0) > 1 && wheelFactor(3, 1) < 1 && wheelFactor(-1e9, 0) < 3);
});

test('what is in view is told as a part of the picture', () => {
  assert.deepEqual(visible(WHOLE, ROOM), [0, 0, 1, 1]);
  assert.deepEqual(visible(limited({ scale: 2, x: 400, y: 0 }, ROOM), ROOM), [0, 0.1667, 0.5, 0.6667]);
  assert.deepEqual(visible(limited({ scale: 4, x: -9e9, y: -9e9 }, ROOM), ROOM), [0.75, 0.6667, 0.25, 0.3333]);
});

test('a slider sends five values a second, and the last one always', () => {
  const pacer = new Pacer<number>();
  const sent: [number, number][] = [];
  const keep = (value: number | undefined, now: number): void => void (value !== undefined && sent.push([now, value]));
  for (let now = 0; now < 900; now += 10) {
    keep(pacer.take(now), now);
    keep(pacer.offer(now, now), now);
  }
  const due = pacer.dueIn(900);
  assert.ok(due !== undefined && due > 0);
  assert.equal(pacer.take(900), undefined, 'not before its time');
  keep(pacer.take(900 + due), 900 + due);
  assert.equal(sent.at(-1)?.[1], 890);
  assert.ok(sent.length <= 7 && sent.length >= 5, String(sent.length));
  sent.slice(1).forEach(([now], n) => assert.ok(now - (sent[n]?.[0] ?? 0) >= PACE_MS));
  assert.equal(pacer.dueIn(9_000), undefined);
});

test('a minute is drawn from left to right, with gaps where nothing was known', () => {
  const minute = [60, 40, 39, 20, 19, 0].map((ageS, n) => ({ ageS, value: n === 3 ? undefined : n * 10 }));
  assert.equal(line(minute, 60, 20), 'M0.0 20.0M20.0 16.0L21.0 12.0M41.0 4.0M60.0 0.0');
  assert.deepEqual(range(minute), { least: 0, most: 50, last: 50 });
  assert.equal(line([], 60, 20), '');
  assert.equal(range([{ ageS: 1, value: undefined }, { ageS: 90, value: 4 }]), undefined);
  assert.equal(line([{ ageS: 1, value: 0 }], 60, 20), 'M59.0 20.0', 'nothing but nought lies at the bottom');
});

test('keys are the camera\'s only where they mean nothing else', () => {
  const key = (key: string, more = {}) => ({ key, ctrlKey: false, altKey: false, metaKey: false, defaultPrevented: false, ...more });
  assert.equal(meant(key('F'), undefined), 'f');
  assert.equal(meant(key('f', { ctrlKey: true }), undefined), undefined);
  assert.equal(meant(key('f', { defaultPrevented: true }), undefined), undefined);
  assert.equal(meant(key('ArrowLeft'), { localName: 'input' }), undefined);
  assert.equal(meant(key('Escape'), { localName: 'input' }), 'Escape');
  assert.equal(meant(key('s'), { localName: 'button' }), 's');
});

test('a file is named after the camera and the time, in a way that every system takes', () => {
  const at = new Date(2026, 2, 3, 4, 5, 6);
  assert.equal(fileName('Front: door/1', at, 'jpg'), 'Front door 1 2026-03-03 04-05-06.jpg');
  assert.doesNotMatch(fileName('../../etc', at, 'mp4'), /^\.|\//);
  assert.match(fileName('', at, 'mp4'), /^camera /);
});
