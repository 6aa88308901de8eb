// Enlarging the picture by wheel, fingers and keys. The page's own turn is the video's `transform`; this is its `scale` and
// `translate`, which lie outside of it, so that both go together.

import { keyed, limited, moved, pinched, roomOf, TAPPED, wheelFactor, WHOLE, zoomed, type Point, type Room, type Zoom } from './zoom.ts';

const DOUBLE_TAP_MS = 300;
/** How far fingers may be from where they were and still mean the same place. */
const SAME_PLACE_PX = 30;

export class Gestures {
  zoom: Zoom = WHOLE;
  private readonly fingers = new Map<number, Point>();
  private tap: (Point & { at: number }) | undefined;
  private down: Point | undefined;
  private readonly observer: ResizeObserver | undefined;

  /** `isOurs`: the event is about the picture, not about a button over it. */
  constructor(
    private readonly stage: HTMLElement,
    private readonly video: HTMLVideoElement,
    private readonly isOurs: (event: Event) => boolean,
    private readonly onChange: () => void,
    signal: AbortSignal,
  ) {
    const on = <Type extends keyof HTMLElementEventMap>(type: Type, act: (event: HTMLElementEventMap[Type]) => void): void => (
      stage.addEventListener(type, (event) => this.isOurs(event) && act(event), { signal, passive: type !== 'wheel' })
    );
    on('wheel', (event) => this.onWheel(event));
    on('pointerdown', (event) => this.onDown(event));
    stage.addEventListener('pointermove', (event) => this.onMove(event), { signal, passive: true });
    for (const type of ['pointerup', 'pointercancel'] as const) stage.addEventListener(type, (event) => this.onUp(event), { signal });
    if (typeof ResizeObserver !== 'undefined') {
      this.observer = new ResizeObserver(() => this.settle());
      this.observer.observe(video);
    }
    signal.addEventListener('abort', () => this.end());
    this.apply();
  }

  /** The view and the picture in it, as it is turned now. */
  room(): Room {
    const { video } = this;
    const style = getComputedStyle(video);
    const [a = 1, b = 0] = (/^matrix\(([^)]*)\)/.exec(style.transform)?.[1] ?? '').split(',').map(Number);
    const box = { width: video.offsetWidth, height: video.offsetHeight };
    return roomOf(box, { width: video.videoWidth, height: video.videoHeight }, style.objectFit, Math.abs(b) > Math.abs(a));
  }

  set(zoom: Zoom): void {
    const { scale, x, y } = this.zoom;
    this.zoom = zoom;
    if (scale === zoom.scale && x === zoom.x && y === zoom.y) return;
    this.apply();
    this.onChange();
  }

  /** After a change of the picture or of its room. */
  settle(): void {
    if (this.zoom.scale > 1) this.set(limited(this.zoom, this.room()));
  }

  /** Whether the key was one of these. */
  key(key: string): boolean {
    const zoom = keyed(this.zoom, key, this.room());
    if (zoom) this.set(zoom);
    return zoom !== undefined;
  }

  private apply(): void {
    const { scale, x, y } = this.zoom;
    const { style } = this.video;
    style.scale = scale === 1 ? '' : String(scale);
    style.translate = scale === 1 ? '' : `${x}px ${y}px`;
    // A page scrolls under one finger until there is something to move.
    this.stage.style.touchAction = scale === 1 ? 'pan-x pan-y' : 'none';
  }

  private end(): void {
    this.observer?.disconnect();
    this.zoom = WHOLE;
    this.apply();
    this.stage.style.touchAction = '';
  }

  /** From the middle of the view. */
  private at({ clientX, clientY }: MouseEvent): Point {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  }

  private onWheel(event: WheelEvent): void {
    const page = document.scrollingElement;
    const scrolls = page !== null && page.scrollHeight > page.clientHeight + 1 && !document.fullscreenElement;
    // Inside of a longer page the wheel is the page's, until the picture is enlarged. `ctrlKey` is what a trackpad's pinch sends.
    if (scrolls && !event.ctrlKey && this.zoom.scale === 1) return;
    event.preventDefault();
    const { x, y } = this.at(event);
    this.set(zoomed(this.zoom, wheelFactor(event.deltaY * (event.ctrlKey ? 4 : 1), event.deltaMode), x, y, this.room()));
  }

  private onDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    if (this.fingers.size < 2) this.fingers.set(event.pointerId, this.at(event));
    this.down = this.fingers.size === 1 ? this.at(event) : undefined;
  }

  private onMove(event: PointerEvent): void {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, now);
    if (other) this.set(pinched(this.zoom, [other, before], [other, now], this.room()));
    else if (this.zoom.scale > 1) {
      this.hold(event.pointerId);
      this.set(moved(this.zoom, now.x - before.x, now.y - before.y, this.room()));
    }
  }

  private onUp(event: PointerEvent): void {
    if (!this.fingers.delete(event.pointerId)) return;
    const { down, tap } = this;
    const at = this.at(event);
    this.down = this.tap = undefined;
    if (event.type !== 'pointerup' || event.pointerType === 'mouse' || !down || !near(down, at)) return;
    if (tap && near(tap, at) && event.timeStamp - tap.at < DOUBLE_TAP_MS) {
      this.set(this.zoom.scale > 1 ? WHOLE : zoomed(WHOLE, TAPPED, at.x, at.y, this.room()));
    } else this.tap = { ...at, at: event.timeStamp };
  }

  /** The picture follows also outside of its view. */
  private hold(pointer: number): void {
    try {
      if (!this.stage.hasPointerCapture(pointer)) this.stage.setPointerCapture(pointer);
    } catch {
      // That pointer is gone meanwhile.
    }
  }
}

const near = (a: Point, b: Point): boolean => Math.hypot(a.x - b.x, a.y - b.y) < SAME_PLACE_PX;
