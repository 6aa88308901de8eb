// Full screen and picture in picture, as each browser has them, and who may change the camera.

import type { Camera } from '../camera.ts';

/** Safari's own, on a video. */
interface AppleVideo extends HTMLVideoElement {
  webkitEnterFullscreen?(): void;
  webkitSupportsPresentationMode?(mode: string): boolean;
  webkitSetPresentationMode?(mode: string): void;
  webkitPresentationMode?: string;
}

/** Older Safari, on every element but on iPhones. */
interface AppleDocument extends Document {
  webkitFullscreenEnabled?: boolean;
  webkitFullscreenElement?: Element | null;
  webkitExitFullscreen?(): void;
}
interface AppleElement extends HTMLElement {
  webkitRequestFullscreen?(): void;
}

const page = (): AppleDocument => document;

export const canFullscreen = (video: AppleVideo): boolean => (
  Boolean(page().fullscreenEnabled || page().webkitFullscreenEnabled || video.webkitEnterFullscreen)
);

export const isFullscreen = (host: Element): boolean => {
  const whole = page().fullscreenElement ?? page().webkitFullscreenElement;
  return whole != null && (whole === host || whole.contains(host));
};

/** Rejects where the browser does. On an iPhone it is the video that goes to full screen, by the system's own player. */
export async function toggleFullscreen(host: AppleElement, video: AppleVideo): Promise<void> {
  const of = page();
  if (of.fullscreenEnabled) {
    if (isFullscreen(host)) await of.exitFullscreen();
    else await host.requestFullscreen();
  } else if (of.webkitFullscreenEnabled) {
    if (isFullscreen(host)) of.webkitExitFullscreen?.();
    else host.webkitRequestFullscreen?.();
  } else video.webkitEnterFullscreen?.();
}

export const canPip = (video: AppleVideo): boolean => (
  !video.disablePictureInPicture
  && Boolean(document.pictureInPictureEnabled || video.webkitSupportsPresentationMode?.('picture-in-picture'))
);

export async function togglePip(video: AppleVideo): Promise<void> {
  if (document.pictureInPictureEnabled) {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await video.requestPictureInPicture();
  } else {
    video.webkitSetPresentationMode?.(video.webkitPresentationMode === 'picture-in-picture' ? 'inline' : 'picture-in-picture');
  }
}

/**
 * Whether settings are shown: to who has the right to control. In a frame of another site only where an invitation gives it, whose
 * secret that site had to know: where access is open, it could lure its visitors' clicks to a camera that it cannot reach itself.
 */
export function mayChange({ rights, info }: Camera): boolean {
  return (rights?.has('control') ?? false) && (info.access === 'grants' || !isFramedByOthers());
}

/** Whether this is a frame of a page from another origin, which nobody may have meant to see. */
export function isFramedByOthers(): boolean {
  try {
    return window.top !== window && window.top?.location.origin !== location.origin;
  } catch {
    return true; // another origin's location cannot be read
  }
}
