// The module `porthole-camera.js`: defines <porthole-camera> where it is imported.

import { PortholeCamera } from './element.ts';

export { PortholeCamera };
export type { CameraState } from './element.ts';
export type { Camera, Reply, Right, Sample } from '../camera.ts';

// Twice on a page, from two places, the first one counts.
if (!customElements.get('porthole-camera')) customElements.define('porthole-camera', PortholeCamera);

declare global {
  interface HTMLElementTagNameMap {
    'porthole-camera': PortholeCamera;
  }
}
