import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOST_LIVE, Roster, whoIsLive, type TileState } from '../src/core/roster.ts';

test('cameras are listed by name with what is retained of them', () => {
  const roster = new Roster('home/cams');
  assert.equal(roster.take('home/cams/b/info', '{"name":"Attic"}'), 'b');
  assert.equal(roster.take('home/cams/a/availability', 'online'), 'a');
  assert.equal(roster.take('home/cams/b/availability', 'offline'), 'b');
  assert.deepEqual(roster.all(), [{ device: 'a', name: 'a', presence: 'online' }, { device: 'b', name: 'Attic', presence: 'offline' }]);
  assert.equal(roster.take('home/cams/b/info', ''), undefined);
  assert.deepEqual(roster.all().map(({ device }) => device), ['a'], 'one that was taken away is gone');
});

test('what is of no camera, or of too many, is passed over', () => {
  const roster = new Roster('r');
  for (const topic of ['r/a', 'r/a/b/info', 'x/a/info', 'r//info', 'r/a b/info', 'r/a/state', 'ra/info', '']) {
    assert.equal(roster.take(topic, '{}'), undefined, topic);
  }
  for (let at = 0; at < 100; at += 1) roster.take(`r/d${at}/info`, 'no json');
  assert.equal(roster.all().length, 64);
  assert.equal(roster.take('r/d1/snapshot', ''), 'd1');
  assert.equal(roster.take('r/later/snapshot', ''), 'later', 'which may come first');
  assert.equal(roster.get('later'), undefined);
});

const tile = (id: string, more: Partial<TileState> = {}): TileState => ({ id, inView: true, presence: 'online', ...more });
const live = (tiles: TileState[], large?: string, now = 1_000): string => [...whoIsLive(tiles, large, now)].join();

test('tiles turn live one by one, from the first on', () => {
  assert.equal(live([tile('a'), tile('b')]), 'a');
  assert.equal(live([tile('a', { phase: 'opening', startedMs: 0 }), tile('b')]), 'a');
  assert.equal(live([tile('a', { phase: 'live', startedMs: 0 }), tile('b')]), 'a,b');
  assert.equal(live([tile('a', { phase: 'refused', startedMs: 0 }), tile('b')]), 'a,b', 'one that is refused keeps nobody back');
  assert.equal(live([tile('a', { phase: 'calling', startedMs: 0 }), tile('b')], undefined, 4_000), 'a,b', 'nor one that hangs');
});

test('those in view are live, as many as may be, and none that is offline', () => {
  const many = Array.from({ length: 20 }, (_, at) => tile(`${at}`, { phase: 'live', startedMs: 0, inView: at >= 3 }));
  assert.deepEqual([...whoIsLive(many, undefined, 0)], ['3', '4', '5', '6', '7', '8']);
  assert.equal(MOST_LIVE, 6);
  assert.equal(live([tile('a', { presence: 'offline' }), tile('b', { presence: 'unknown' })]), 'b');
  assert.equal(live([tile('a', { presence: 'offline', phase: 'live' })]), '');
});

test('the large one is the only one', () => {
  assert.equal(live([tile('a', { phase: 'live' }), tile('b', { inView: false, presence: 'offline' })], 'b'), 'b');
});
