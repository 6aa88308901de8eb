import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Links, type Store } from '../src/page/keep.ts';

const SECRET = '-'.repeat(42) + '8';
const LINK = `#broker=ws://h&device=a&grant=anna&secret=${SECRET}`;
const BARE = '#broker=ws%3A%2F%2Fh&device=a&grant=anna';

class Memory implements Store {
  readonly held = new Map<string, string>();
  getItem = (key: string): string | null => this.held.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.held.set(key, value);
  removeItem = (key: string): void => void this.held.delete(key);
}

function links(tab = new Memory(), device = new Memory()): { links: Links; tab: Memory; device: Memory } {
  return { links: new Links(() => tab, () => device), tab, device };
}

test('the secret leaves the address and is found again in the same tab, and in no other', () => {
  const { links: here, tab, device } = links();
  const opened = here.open(LINK);
  assert.equal(opened.address, BARE);
  assert.equal(opened.cameras[0]?.secret, SECRET);
  assert.deepEqual(here.open(BARE), { cameras: opened.cameras }, 'a reload');
  assert.equal(device.held.size, 0, 'kept without being asked');
  assert.deepEqual(links().links.open(BARE).cameras[0], { broker: 'ws://h', device: 'a', grant: 'anna' }, 'another tab');
  assert.equal(links(tab).links.open('#device=a').cameras[0]?.secret, undefined, 'another link');
});

test('a password of the broker is a secret too', () => {
  const { links: here } = links();
  const { address, cameras } = here.open('#broker=ws://u:p@h&device=a');
  assert.equal(address, '#broker=ws%3A%2F%2Fu%40h&device=a');
  assert.deepEqual(here.open(address!).cameras, cameras);
});

test('a link of several cameras is held as one', () => {
  const { links: here } = links();
  const { address, cameras } = here.open(`${LINK}&device=b&grant=anna&secret=${SECRET}`);
  assert.ok(!address!.includes(SECRET));
  assert.deepEqual(here.open(address!).cameras, cameras);
});

test('what has no secret, and what is damaged, stays as it is', () => {
  const { links: here, tab } = links();
  for (const hash of ['', '#device=a', '#broker=ws://h&device=a', LINK.slice(0, -1), `${LINK}&secret=${SECRET}`, `#secret=${SECRET}`]) {
    assert.equal(here.open(hash).address, undefined, hash);
  }
  assert.equal(tab.held.size, 0);
});

test('a camera that was kept opens without its link, until it is forgotten', () => {
  const { links: here, device } = links();
  const { cameras } = here.open(LINK);
  assert.ok(!here.isKept(cameras));
  assert.ok(here.keep(cameras) && here.keep(cameras) && here.isKept(cameras));
  const app = links(new Memory(), device).links;
  assert.deepEqual(app.open(''), { cameras, fromKept: true });
  assert.deepEqual(app.open(BARE).cameras, cameras, 'a bookmark of the bare address');
  assert.ok(!app.isKept([{ ...cameras[0]!, device: 'b' }]));
  app.forget(cameras);
  assert.equal(device.held.size, 0);
  assert.deepEqual(app.open(''), { cameras: [{}] });
});

test('several are kept one by one', () => {
  const { links: here } = links();
  const two = here.open('#broker=ws://h&device=a&device=b').cameras;
  here.keep(two);
  here.forget([two[0]!]);
  assert.deepEqual(here.open('').cameras, [two[1]]);
  assert.ok(!here.isKept(two));
});

test('a browser that stores nothing keeps the link in the address, where a reload finds it', () => {
  const none = (): Store => {
    throw new Error('SecurityError');
  };
  const here = new Links(none, none);
  const opened = here.open(LINK);
  assert.ok(opened.address?.includes(SECRET));
  assert.equal(opened.cameras[0]?.secret, SECRET);
  assert.equal(here.keep(opened.cameras), false);
  here.forget(opened.cameras);
  assert.deepEqual(here.kept(), []);
});

test('what somebody else put into the storage harms nothing', () => {
  const device = new Memory();
  const { links: here } = links(new Memory(), device);
  for (const text of ['', 'x', '{}', '[1,null,{}]', '["#","#device=a&device=a"]', JSON.stringify(Array(1000).fill('#device=a'))]) {
    device.held.set('porthole.kept', text);
    assert.ok(here.kept().length <= 64, text);
    assert.ok(here.open('').cameras.length >= 1);
  }
});
