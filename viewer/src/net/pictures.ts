// Pictures by HTTP, one after another, where a live connection cannot be had. The first part decides, the class does.

import { backoffMs } from '../core/timing.ts';

/** Between two requests, so that others at the same address have pictures too; the camera itself gives two a second. */
const PACE_MS = 1_000;
/** How long one picture may take: the camera may have to start for it. */
const PATIENCE_MS = 30_000;
/** Longest wait that is taken from a `Retry-After`. */
const LONGEST_ASKED_S = 300;
/** A right may be given while somebody waits for it. */
const REFUSED_MS = 60_000;
/** Larger ones are nobody's still pictures. */
const LARGEST_BYTES = 16 * 1024 * 1024;

/** What became of one request. `code` is one of protocol.md, section 2.1, where the device said one. */
export type Outcome =
  | { got: 'picture' }
  | { got: 'refusal'; status: number; code?: string; retryAfterS?: number }
  | { got: 'nothing' };

/** Why there is no picture: `unreachable`, `no-pictures` (nothing here serves any), or the device's own code. */
export interface PictureTrouble {
  code: string;
  /** When it is tried again, in ms from now. */
  retryMs: number;
}

/** When the next picture is asked for, after so many failures in a row, and what is said meanwhile. */
export function afterOutcome(outcome: Outcome, failures: number, rand: number): { waitMs: number; trouble?: PictureTrouble } {
  if (outcome.got === 'picture') return { waitMs: PACE_MS };
  if (outcome.got === 'nothing') return troubled('unreachable', backoffMs(failures, rand));
  const { status, retryAfterS } = outcome;
  const askedMs = retryAfterS === undefined ? 0 : Math.min(Math.max(retryAfterS, 0), LONGEST_ASKED_S) * 1_000;
  const code = outcome.code ?? codeOf(status);
  // What a person has to change is not asked for every few seconds.
  const isSettled = status === 401 || status === 403 || status === 404 || status === 405;
  return troubled(code, Math.max(askedMs, isSettled ? REFUSED_MS : backoffMs(failures, rand)));
}

function troubled(code: string, waitMs: number): { waitMs: number; trouble: PictureTrouble } {
  return { waitMs, trouble: { code, retryMs: waitMs } };
}

function codeOf(status: number): string {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 429:
      return 'rate-limited';
    case 503:
      return 'camera-unavailable';
    default:
      return status === 404 || status === 405 ? 'no-pictures' : 'unreachable';
  }
}

/** Reads a `Retry-After` of seconds; dates are none of this device's. */
export function retryAfter(header: string | null): number | undefined {
  return header !== null && /^\d{1,6}$/.test(header.trim()) ? Number(header) : undefined;
}

export interface PicturesOptions {
  /** Where the device's HTTP is, with a slash at its end: `http://camera:8080/`. */
  base: string;
  /** The bearer token of a grant, where there is one. */
  token?: string | undefined;
  onPicture(picture: Blob): void;
  onTrouble(trouble: PictureTrouble): void;
}

export class Pictures {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort: AbortController | undefined;
  private failures = 0;
  private running = false;
  /** Not before this is anything asked for, also after a stop and a start. */
  private notBefore = 0;

  constructor(private readonly options: PicturesOptions) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.timer = setTimeout(() => void this.next(), Math.max(0, this.notBefore - performance.now()));
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  private async next(): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    const patience = setTimeout(() => abort.abort(), PATIENCE_MS);
    const started = performance.now();
    const [outcome, picture] = await this.fetchOne(abort.signal);
    clearTimeout(patience);
    if (!this.running || this.abort !== abort) return;
    this.failures = picture ? 0 : this.failures + 1;
    const { waitMs, trouble } = afterOutcome(outcome, this.failures, Math.random());
    if (picture) this.options.onPicture(picture);
    if (trouble) this.options.onTrouble(trouble);
    this.notBefore = (picture ? started : performance.now()) + waitMs;
    this.timer = setTimeout(() => void this.next(), Math.max(0, this.notBefore - performance.now()));
  }

  private async fetchOne(signal: AbortSignal): Promise<[Outcome, Blob?]> {
    const { base, token } = this.options;
    try {
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(new URL('snapshot.jpg', base), { signal, headers, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer' });
      const picture = response.ok ? await response.blob() : undefined;
      if (picture?.type.startsWith('image/jpeg') && picture.size <= LARGEST_BYTES) return [{ got: 'picture' }, picture];
      if (response.ok) return [{ got: 'refusal', status: 404 }]; // some other server's page
      const refusal: Outcome = { got: 'refusal', status: response.status };
      const code = await codeFrom(response);
      if (code !== undefined) refusal.code = code;
      const seconds = retryAfter(response.headers.get('retry-after'));
      if (seconds !== undefined) refusal.retryAfterS = seconds;
      return [refusal];
    } catch {
      return [{ got: 'nothing' }];
    }
  }
}

/** The code of a problem document (RFC 9457), if that is what it is. */
async function codeFrom(response: Response): Promise<string | undefined> {
  if (!response.headers.get('content-type')?.startsWith('application/problem+json')) return undefined;
  try {
    const { code } = (await response.json()) as { code?: unknown };
    return typeof code === 'string' && /^[a-z0-9-]{1,40}$/.test(code) ? code : undefined;
  } catch {
    return undefined;
  }
}
