import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseState } from '../src/core/status.ts';
import { turnHere } from '../src/core/turn.ts';

const KNOWS = 'v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=extmap:3 urn:3gpp:video-orientation\r\n';
const KNOWS_NOT = 'v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n';

test('the page rotates only where the browser does not, and mirrors always', () => {
  for (const rotate of [0, 90, 180, 270]) {
    for (const mirror of [false, true]) {
      assert.deepEqual(turnHere({ rotate, mirror }, KNOWS_NOT), { rotate, mirror });
      assert.deepEqual(turnHere({ rotate, mirror }, KNOWS), { rotate: 0, mirror });
    }
  }
  assert.deepEqual(turnHere(undefined, KNOWS_NOT), { rotate: 0, mirror: false }, 'the device or the camera has turned it');
});

test('what is left to viewers is read from the state, and nothing else is', () => {
  const turn = (viewer_turn: unknown) => parseState(JSON.stringify({ picture: { rotate: 90, viewer_turn } })).turn;
  assert.deepEqual(turn({ rotate: 270, mirror: true }), { rotate: 270, mirror: true });
  assert.deepEqual(turn({ rotate: 0, mirror: true }), { rotate: 0, mirror: true });
  for (const other of [undefined, null, 90, 'x', {}, { rotate: 45 }, { rotate: '90' }]) assert.equal(turn(other), undefined, JSON.stringify(other));
  assert.equal(parseState('{"picture":null}').turn, undefined);
  assert.equal(parseState('{"picture":7}').turn, undefined);
});
