// From the camera to the screen in milliseconds, out of what the stream tells in the device's time. Pure.

/** Seconds from 1900, where NTP counts from, to 1970. */
const UNIX_EPOCH_S = 2_208_988_800;
const RTP_TICKS_PER_MS = 90;
/** Reports looked back on; they come once a second, and clocks drift apart by some milliseconds a minute. */
const REPORTS = 20;

/** The device's clock as seen from here. Each sender report tells its time; the one that came fastest tells it best. */
export class DeviceClock {
  private readonly reports: { sent: number; ahead: number }[] = [];

  /** A report that said `sent`, came at `arrived` (both ms since 1970) and took half of the round trip. */
  report(sent: number, arrived: number, roundTripMs: number): void {
    if (!(sent > 0) || this.reports.at(-1)?.sent === sent) return;
    this.reports.push({ sent, ahead: arrived - sent - roundTripMs / 2 });
    if (this.reports.length > REPORTS) this.reports.shift();
  }

  /** What this machine's clock shows when the device's shows `time`; unknown before the first report. */
  here(time: number): number | undefined {
    if (this.reports.length === 0) return undefined;
    return time + Math.min(...this.reports.map(({ ahead }) => ahead));
  }
}

/** When a packet of the stream was captured: ms since 1900 by the device's clock. */
export interface Captured {
  rtpTimestamp: number;
  captureTimestamp?: number;
}

/** Capture time of the picture with `rtpTimestamp`, in ms since 1970 by the device's clock. */
export function captureTime(captured: Captured | undefined, rtpTimestamp: number | undefined): number | undefined {
  if (captured?.captureTimestamp === undefined || rtpTimestamp === undefined) return undefined;
  // `| 0` takes the shorter way around 2^32. The packet may be of a later picture than the one that is shown.
  const apart = (rtpTimestamp - captured.rtpTimestamp) | 0;
  return captured.captureTimestamp - UNIX_EPOCH_S * 1_000 + apart / RTP_TICKS_PER_MS;
}
