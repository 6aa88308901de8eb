// How the picture has to be turned on this page: a camera that encodes its picture itself cannot always turn it, nor can the device then.

/** Degrees clockwise, and then left and right in each other's place. */
export interface Turn {
  rotate: number;
  mirror: boolean;
}

/** The header extension that tells a browser how each picture lies (3GPP TS 26.114 section 7.4.5). */
const VIDEO_ORIENTATION = 'urn:3gpp:video-orientation';

export function parseTurn(json: unknown): Turn | undefined {
  const { rotate, mirror } = (json ?? {}) as { rotate?: unknown; mirror?: unknown };
  if (rotate !== 0 && rotate !== 90 && rotate !== 180 && rotate !== 270) return undefined;
  return { rotate, mirror: mirror === true };
}

/** What of `left`, the viewers' part, is this page's: where `answer` agrees on it, the browser rotates, and it never mirrors. */
export function turnHere(left: Turn | undefined, answer: string | undefined): Turn {
  const browserRotates = answer?.includes(VIDEO_ORIENTATION) ?? false;
  return { rotate: browserRotates ? 0 : (left?.rotate ?? 0), mirror: left?.mirror ?? false };
}
