import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCameras, toCamerasFragment, withoutSecrets } from '../src/core/cameras.ts';
import { parseFragment } from '../src/core/link.ts';

test('a link of one camera is what it always was, in any order', () => {
  for (const hash of ['', '#', '#broker=ws://h&device=a&key=k&grant=g&secret=s', '#secret=s&grant=g&device=a&root=r&broker=ws://h', '#device=a', '#key=&device=a']) {
    assert.deepEqual(parseCameras(hash), [parseFragment(hash)], hash);
  }
});

test('cameras follow each other, on one broker or each on its own', () => {
  assert.deepEqual(parseCameras('#broker=ws://h&root=r&device=a&key=k&device=b&grant=g&secret=s&device=c'), [
    { broker: 'ws://h', root: 'r', device: 'a', key: 'k' },
    { broker: 'ws://h', root: 'r', device: 'b', grant: 'g', secret: 's' },
    { broker: 'ws://h', root: 'r', device: 'c' },
  ]);
  assert.deepEqual(parseCameras('#broker=ws://a&root=r&device=a&device=b&broker=ws://c&device=c&other=1'), [
    { broker: 'ws://a', root: 'r', device: 'a' },
    { broker: 'ws://a', root: 'r', device: 'b' },
    { broker: 'ws://c', device: 'c' },
  ]);
  assert.equal(parseCameras('#device=front&device=front-2').length, 2);
});

test('what is said twice of one camera is damage, whatever stands around it', () => {
  const twice = [
    '#device=a&key=k&key=k', '#device=a&secret=s&secret=s&device=b', '#device=a&device=b&grant=g&grant=g', '#viewer=v&viewer=w&device=a',
    '#broker=ws://h&device=a&secret=s&broker=ws://h&device=a&secret=s', '#device=a&device=a', '#broker=ws://h&device=a&broker=ws://i',
    '#broker=ws://h&broker=ws://i&device=a', '#root=a&device=a&root=b', `#${Array.from({ length: 65 }, (_, at) => `device=d${at}`).join('&')}`,
  ];
  for (const hash of twice) {
    const cameras = parseCameras(hash);
    assert.deepEqual([cameras.length, cameras[0]?.repeated], [1, true], hash);
  }
});

test('a link of several reads back as itself', () => {
  const links = [
    [{ broker: 'ws://u:p%26w@h/mqtt', device: 'a', root: 'r', key: 'k', grant: 'g', secret: 's' }, { broker: 'ws://u:p%26w@h/mqtt', root: 'r', device: 'b' }],
    [{ broker: 'ws://h', root: 'r', device: 'a' }, { broker: 'ws://h', device: 'a' }, { broker: 'ws://i', device: 'a', secret: 's', grant: 'g' }],
    [{ device: 'a' }],
  ];
  for (const cameras of links) assert.deepEqual(parseCameras(toCamerasFragment(cameras)), cameras);
});

test('no secret and no password is left for the address bar', () => {
  const camera = { broker: 'wss://anna:hidden@h:9/mqtt?a=b:c@d', device: 'a', key: 'k', grant: 'g', secret: 's' };
  assert.deepEqual(withoutSecrets(camera), { broker: 'wss://anna@h:9/mqtt?a=b:c@d', device: 'a', key: 'k', grant: 'g' });
  assert.deepEqual(withoutSecrets({ broker: 'ws://h/a:b@c', device: 'a' }), { broker: 'ws://h/a:b@c', device: 'a' });
  assert.deepEqual(withoutSecrets({}), {});
});
