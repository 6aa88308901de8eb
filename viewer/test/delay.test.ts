import assert from 'node:assert/strict';
import { test } from 'node:test';
import { captureTime, DeviceClock } from '../src/core/delay.ts';

const DEVICE = 1_795_720_000_000;
const SINCE_1900 = DEVICE + 2_208_988_800_000;

test('the device is an hour behind, and the fastest report says by how much', () => {
  const clock = new DeviceClock();
  assert.equal(clock.here(DEVICE), undefined);
  clock.report(DEVICE, DEVICE + 3_600_000 + 45, 20);
  assert.equal(clock.here(DEVICE), DEVICE + 3_600_035);
  clock.report(DEVICE + 1_000, DEVICE + 3_601_000 + 10, 20);
  clock.report(DEVICE + 2_000, DEVICE + 3_602_000 + 90, 20);
  assert.equal(clock.here(DEVICE), DEVICE + 3_600_000);
});

test('a report counts once, and only while it is recent', () => {
  const clock = new DeviceClock();
  clock.report(DEVICE, DEVICE - 500, 0);
  clock.report(DEVICE, DEVICE - 900, 0);
  assert.equal(clock.here(DEVICE), DEVICE - 500);
  for (let n = 1; n <= 20; n++) clock.report(DEVICE + n, DEVICE + n + 5, 0);
  assert.equal(clock.here(DEVICE), DEVICE + 5);
  clock.report(0, DEVICE, 0);
  clock.report(NaN, DEVICE, 0);
  assert.equal(clock.here(DEVICE), DEVICE + 5);
});

test('a picture\'s own time is counted from the packet\'s, also around the end of 32 bits', () => {
  const captured = { rtpTimestamp: 90_000, captureTimestamp: SINCE_1900 };
  assert.equal(captureTime(captured, 90_000), DEVICE);
  assert.equal(captureTime(captured, 87_000), DEVICE - 100 / 3);
  assert.equal(captureTime({ rtpTimestamp: 45, captureTimestamp: SINCE_1900 }, 2 ** 32 - 45), DEVICE - 1);
  assert.equal(captureTime({ rtpTimestamp: 2 ** 32 - 45, captureTimestamp: SINCE_1900 }, 45), DEVICE + 1);
  assert.equal(captureTime({ rtpTimestamp: 90_000 }, 90_000), undefined);
  assert.equal(captureTime(captured, undefined), undefined);
  assert.equal(captureTime(undefined, 90_000), undefined);
});
