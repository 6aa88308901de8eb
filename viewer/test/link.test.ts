import assert from 'node:assert/strict';
import { test } from 'node:test';
import { complete, lacksInvitation, merge, parseFragment, parseIceServers, parseServed, retyped, toFragment, typedBroker, type Flaw, type Link } from '../src/core/link.ts';

const KEY = 'A'.repeat(42) + 'E';
const SECRET = '-'.repeat(42) + '8';

function link(hash: string, protocol?: string): Link {
  const result = complete(parseFragment(hash), protocol);
  assert.ok(!Array.isArray(result), `not complete: ${result}`);
  return result;
}

function flaws(hash: string, protocol?: string): Flaw[] {
  const result = complete(parseFragment(hash), protocol);
  assert.ok(Array.isArray(result), 'complete, but should not be');
  return result;
}

test('a whole link is read', () => {
  const got = link(`#broker=ws://host:9001/mqtt&device=front-door&key=${KEY}&grant=anna&secret=${SECRET}&root=home/cams&viewer=v1`);
  assert.deepEqual(got, {
    url: 'ws://host:9001/mqtt', device: 'front-door', root: 'home/cams', viewer: 'v1', key: KEY, grant: 'anna', secret: SECRET, iceServers: [],
  });
});

test('an encoded link says the same as a plain one', () => {
  const plain = link('#broker=ws://host:9001/mqtt&device=d');
  assert.deepEqual(link('broker=ws%3A%2F%2Fhost%3A9001%2Fmqtt&device=d'), plain);
});

test('user name and password leave the URL', () => {
  const got = link('#broker=wss://anna:p%2540ss@host/mqtt&device=d');
  assert.equal(got.url, 'wss://host/mqtt');
  assert.equal(got.username, 'anna');
  assert.equal(got.password, 'p@ss');
});

test('what is missing or wrong is named', () => {
  assert.deepEqual(flaws(''), ['no-broker', 'no-device']);
  assert.deepEqual(flaws('#broker=&device=d'), ['no-broker']);
  assert.deepEqual(flaws('#broker=mqtt://host&device=d'), ['bad-broker']);
  assert.deepEqual(flaws('#broker=not%20a%20url&device=d'), ['bad-broker']);
  assert.deepEqual(flaws('#broker=ws://h&device=a/b'), ['bad-device']);
  assert.deepEqual(flaws(`#broker=ws://h&device=${'x'.repeat(65)}`), ['bad-device']);
  assert.deepEqual(flaws('#broker=ws://h&device=d&viewer=%2B'), ['bad-viewer']);
  for (const root of ['a/%23', '%2B', '/a', 'a/', 'a//b']) assert.deepEqual(flaws(`#broker=ws://h&device=d&root=${root}`), ['bad-root']);
});

test('a damaged link is told as such, and never used without what it lost', () => {
  const damaged = (rest: string): Flaw[] => flaws(`#broker=ws://h&device=d&${rest}`);
  for (const bad of ['', KEY.slice(1), `${KEY}A`, `${KEY}%3D`, `${KEY}.`, KEY.replace('E', 'F'), KEY.replace('A', '%2F')]) assert.deepEqual(damaged(`key=${bad}`), ['bad-key'], bad);
  for (const bad of ['', SECRET.slice(1), `${SECRET}x`, SECRET.replace('-', '%2B')]) assert.deepEqual(damaged(`grant=anna&secret=${bad}`), ['bad-secret'], bad);
  for (const bad of ['', 'a%20b', 'a/b', 'a%0Ab', 'x'.repeat(65)]) assert.deepEqual(damaged(`grant=${bad}&secret=${SECRET}`), ['bad-grant'], bad);
  assert.deepEqual(damaged(`key=${KEY}&grant=anna`), ['no-secret']);
  assert.deepEqual(damaged(`key=${KEY}&secret=${SECRET}`), ['no-grant']);
  assert.deepEqual(damaged(`key=${KEY}&key=${KEY}`), ['repeated']);
  assert.deepEqual(flaws('#key=x'), ['no-broker', 'no-device', 'bad-key']);
});

test('the form keeps key, grant and secret for the link\'s own camera only', () => {
  const fields = { device: 'front', root: 'r', key: KEY, grant: 'anna', secret: SECRET };
  assert.deepEqual(retyped(fields, 'ws://b', 'front'), { ...fields, broker: 'ws://b' });
  assert.deepEqual(retyped(fields, 'ws://b', 'back'), { root: 'r', broker: 'ws://b', device: 'back' });
  const { device: _, ...unnamed } = fields;
  assert.deepEqual(retyped(unnamed, 'ws://b', 'front'), { ...fields, broker: 'ws://b' });
});

test('an https page may not use ws://, except on the same machine', () => {
  assert.deepEqual(flaws('#broker=ws://camera.lan:9001&device=d', 'https:'), ['insecure']);
  assert.equal(link('#broker=ws://127.0.0.1:9001&device=d', 'https:').device, 'd');
  assert.equal(link('#broker=wss://camera.lan&device=d', 'https:').device, 'd');
});

test('the fragment wins over viewer.json, and a served name stays with its device', () => {
  const served = parseServed({ v: 1, device: 'front', name: 'Front door', root: 'home', broker: 'ws://a/mqtt' });
  assert.deepEqual(complete(merge({}, served)), { url: 'ws://a/mqtt', device: 'front', root: 'home', name: 'Front door', iceServers: [] });
  assert.deepEqual(complete(merge({ device: 'back', broker: 'ws://b' }, served)), { url: 'ws://b/', device: 'back', root: 'home', iceServers: [] });
});

test('an invitation is missed where the served camera asks for one, and nowhere else', () => {
  const served = parseServed({ device: 'front', broker: 'ws://a/mqtt', access: 'grants' });
  assert.ok(lacksInvitation(merge({}, served)));
  assert.ok(!lacksInvitation(merge({ grant: 'anna', secret: 'x' }, served)));
  assert.ok(!lacksInvitation(merge({ device: 'back' }, served)), 'nobody has said how that one is');
  assert.ok(!lacksInvitation(merge({}, parseServed({ device: 'front', broker: 'ws://a/mqtt', access: 'open' }))));
  assert.equal(served.ownBroker, undefined);
  assert.equal(parseServed({ broker: 'ws://a/mqtt', builtInBroker: true }).ownBroker, 'ws://a/mqtt');
});

test('viewer.json of a wrong shape counts as empty', () => {
  for (const json of [null, 'x', 3, [], { device: 5, broker: null, name: '', iceServers: 'stun:x' }]) assert.deepEqual(parseServed(json), {});
});

test('ICE servers are taken only where they are STUN or TURN', () => {
  assert.deepEqual(parseIceServers([{ urls: 'stun:a:3478' }, { urls: ['turn:b?transport=udp', 'http://c'], username: 'u', credential: 'p' }, { urls: [] }, null, 3]), [
    { urls: ['stun:a:3478'] },
    { urls: ['turn:b?transport=udp'], username: 'u', credential: 'p' },
  ]);
  assert.equal(parseIceServers([{ urls: 'javascript:1' }]), undefined);
  assert.equal(parseIceServers({}), undefined);
});

test('the form makes a fragment that reads back as itself', () => {
  const fields = { broker: typedBroker(' camera.local:9001 ', 'http:'), device: 'd', secret: 'a-b_c' };
  assert.equal(fields.broker, 'ws://camera.local:9001');
  assert.equal(typedBroker('h', 'https:'), 'wss://h');
  assert.equal(typedBroker('wss://h/x', 'http:'), 'wss://h/x');
  assert.deepEqual(parseFragment(toFragment(fields)), fields);
});
