import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guarded, permissionNames, spaceOf } from '../src/core/local.ts';

test('hosts are told apart by where they are', () => {
  const hosts = { loopback: ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]'], local: ['10.0.0.1', '192.168.1.2', '172.16.0.1', '172.31.0.1', '169.254.1.1', 'cam.local', 'cam', '[fd00::1]', '[fe80::1]'], public: ['8.8.8.8', '172.32.0.1', '100.64.0.1', 'example.org', '127.example.org', '[2001:db8::1]', '10.example.org'] };
  for (const [space, names] of Object.entries(hosts)) for (const name of names) assert.equal(spaceOf(name), space, name);
});

test('only the way into a more private network is guarded', () => {
  assert.equal(guarded('cams.example.org', '192.168.1.2'), 'local');
  assert.equal(guarded('cams.example.org', 'localhost'), 'loopback');
  assert.equal(guarded('192.168.1.9', '127.0.0.1'), 'loopback');
  for (const [page, target] of [['192.168.1.9', '192.168.1.2'], ['localhost', 'cam.local'], ['a.org', 'b.org'], ['127.0.0.1', 'localhost']] as const) assert.equal(guarded(page, target), undefined, page);
  assert.deepEqual(permissionNames('local'), ['local-network', 'local-network-access']);
});
