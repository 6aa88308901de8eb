// How often a slider sends while it is dragged: not too often, and its last value always.

/** Five a second; the device takes 60 commands at once and then 30 a second of one viewer. */
export const PACE_MS = 200;

export class Pacer<T> {
  private waiting: { value: T } | undefined;
  private sentAt = -Infinity;

  /** A new value: gives it back when it may be sent now, else keeps it in place of one that waits. */
  offer(value: T, now: number): T | undefined {
    if (this.waiting === undefined && now - this.sentAt >= PACE_MS) {
      this.sentAt = now;
      return value;
    }
    this.waiting = { value };
    return undefined;
  }

  /** In how many ms `take` has something to give; undefined when nothing waits. */
  dueIn(now: number): number | undefined {
    return this.waiting && Math.max(0, this.sentAt + PACE_MS - now);
  }

  /** The value that waited, once its time has come. */
  take(now: number): T | undefined {
    if (!this.waiting || now - this.sentAt < PACE_MS) return undefined;
    const { value } = this.waiting;
    this.waiting = undefined;
    this.sentAt = now;
    return value;
  }
}
