// The math of enlarging the picture: pure, in CSS pixels of the screen, the origin in the middle of the view.

/** How the picture lies: `scale` times as large as it fits, its middle moved by `x`, `y`. */
export interface Zoom {
  scale: number;
  x: number;
  y: number;
}

/** The view, and the picture as it is seen (turned) at scale 1. */
export interface Room {
  viewWidth: number;
  viewHeight: number;
  width: number;
  height: number;
}

export const WHOLE: Zoom = { scale: 1, x: 0, y: 0 };
export const MOST = 8;
/** One press of `+`, and one notch of a wheel. */
export const STEP = 1.25;
/** A double tap goes here, and back. */
export const TAPPED = 2.5;
/** An arrow key moves by this part of the view. */
const MOVE = 0.15;

/** A video's picture within its box: `fit` as `object-fit`, `quarter` where it is turned by 90 or 270 degrees. */
export function roomOf(box: { width: number; height: number }, video: { width: number; height: number }, fit: string, quarter: boolean): Room {
  let { width, height } = box;
  if (fit !== 'cover' && fit !== 'fill' && video.width > 0 && video.height > 0) {
    const scale = Math.min(box.width / video.width, box.height / video.height);
    width = video.width * scale;
    height = video.height * scale;
  }
  return quarter
    ? { viewWidth: box.height, viewHeight: box.width, width: height, height: width }
    : { viewWidth: box.width, viewHeight: box.height, width, height };
}

/** Within the picture's borders: nothing but picture where it is larger than the view, and in the middle where it is not. */
export function limited({ scale, x, y }: Zoom, room: Room): Zoom {
  const to = Math.min(MOST, Math.max(1, Number.isFinite(scale) ? scale : 1));
  const bound = (at: number, size: number, view: number): number => {
    const most = Math.max(0, (size * to - view) / 2);
    return Math.min(most, Math.max(-most, Number.isFinite(at) ? at : 0)) + 0; // no -0
  };
  if (to < 1.005) return WHOLE;
  return { scale: to, x: bound(x, room.width, room.viewWidth), y: bound(y, room.height, room.viewHeight) };
}

/** `factor` times as large; what is at this point of the view stays there. */
export function zoomed(zoom: Zoom, factor: number, x: number, y: number, room: Room): Zoom {
  const scale = Math.min(MOST, Math.max(1, zoom.scale * factor));
  const by = scale / zoom.scale;
  return limited({ scale, x: x - (x - zoom.x) * by, y: y - (y - zoom.y) * by }, room);
}

export const moved = (zoom: Zoom, x: number, y: number, room: Room): Zoom => limited({ ...zoom, x: zoom.x + x, y: zoom.y + y }, room);

/** Two fingers, before and now: they keep what is under them. */
export function pinched(zoom: Zoom, before: [Point, Point], now: [Point, Point], room: Room): Zoom {
  const [from, to] = [middle(before), middle(now)];
  const factor = distance(now) / Math.max(1, distance(before));
  return moved(zoomed(zoom, factor, from.x, from.y, room), to.x - from.x, to.y - from.y, room);
}

/** What a key does, or undefined for one that has nothing to do with it. */
export function keyed(zoom: Zoom, key: string, room: Room): Zoom | undefined {
  const [byX, byY] = [room.viewWidth * MOVE, room.viewHeight * MOVE];
  switch (key) {
    case '+':
    case '=':
      return zoomed(zoom, STEP, 0, 0, room);
    case '-':
      return zoomed(zoom, 1 / STEP, 0, 0, room);
    case '0':
      return WHOLE;
    // The view moves, so the picture goes the other way.
    case 'ArrowLeft':
      return zoom.scale > 1 ? moved(zoom, byX, 0, room) : undefined;
    case 'ArrowRight':
      return zoom.scale > 1 ? moved(zoom, -byX, 0, room) : undefined;
    case 'ArrowUp':
      return zoom.scale > 1 ? moved(zoom, 0, byY, room) : undefined;
    case 'ArrowDown':
      return zoom.scale > 1 ? moved(zoom, 0, -byY, room) : undefined;
    default:
      return undefined;
  }
}

/** What a wheel's turn multiplies by; a trackpad's small steps by less. */
export const wheelFactor = (deltaY: number, deltaMode: number): number => (
  Math.exp(Math.min(1, Math.max(-1, -deltaY * (deltaMode === 0 ? 1 : 33) / 450)))
);

/** The part of the picture that is in view, as `set/crop` takes it: x, y, width, height in fractions of the picture as it is seen. */
export function visible({ scale, x, y }: Zoom, room: Room): [number, number, number, number] {
  const part = (at: number, size: number, view: number): [number, number] => {
    const length = Math.min(1, view / (size * scale));
    return [Math.min(1 - length, Math.max(0, 0.5 - at / (size * scale) - length / 2)), length];
  };
  const round = (n: number): number => Math.round(n * 1e4) / 1e4;
  const [left, width] = part(x, room.width, room.viewWidth);
  const [top, height] = part(y, room.height, room.viewHeight);
  return [round(left), round(top), round(width), round(height)];
}

export interface Point {
  x: number;
  y: number;
}

const middle = ([a, b]: [Point, Point]): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
const distance = ([a, b]: [Point, Point]): number => Math.hypot(a.x - b.x, a.y - b.y);
