// A camera that is not there, for looking at the bar and for its tests in a browser: what it is asked is kept.

import type { Camera, Reply, Right, Sample, Talking } from '../../src/camera.ts';
import type { DeviceState, Info } from '../../src/core/status.ts';

export class FakeCamera implements Camera {
  name = 'Front door';
  rights: ReadonlySet<Right> | undefined = new Set<Right>(['view', 'control', 'snapshot']);
  canAsk = true;
  phase: 'live' | 'stalled' | 'calling' = 'live';
  asked: [string, unknown][] = [];
  reply: Reply = { ok: true };
  samples: Sample[] = [];
  info: Info = {
    name: 'Front door', access: 'grants', audio: false, scenes: ['day', 'night'],
    features: ['channel', 'settings', 'rotate', 'mirror', 'crop', 'overlay', 'scene', 'privacy'],
    modes: [{ width: 1920, height: 1080, fps: [30] }, { width: 1280, height: 720, fps: [30] }, { width: 640, height: 480, fps: [30] }],
    controls: [
      { name: 'brightness', type: 'int', min: 0, max: 255, step: 1, default: 128, readOnly: false, inactive: false },
      { name: 'auto_exposure', type: 'menu', menu: [{ value: 1, text: 'Manual Mode' }, { value: 3, text: 'Aperture Priority Mode' }], readOnly: false, inactive: false },
      { name: 'exposure_time_absolute', type: 'int', min: 3, max: 2047, step: 1, readOnly: false, inactive: true },
      { name: 'white_balance_automatic', type: 'bool', readOnly: false, inactive: false },
    ],
  };
  device: DeviceState = {
    streaming: true, width: 1280, height: 720, ceilingKbps: 2490,
    controls: { brightness: 128, auto_exposure: 3, exposure_time_absolute: 250, white_balance_automatic: 1 },
    picture: { rotate: 0, mirror: false, overlay: '%H:%M  {name}', scene: 'day' },
  };
  private readonly listeners = new Set<() => void>();

  constructor(readonly video: HTMLVideoElement) {}

  say(): ReturnType<Camera['say']> {
    return { phase: this.phase, text: '', hint: '', retry: false };
  }

  async set(name: string, value: unknown): Promise<Reply> {
    this.asked.push([name, value]);
    return this.reply;
  }

  async do(action: string): Promise<Reply> {
    this.asked.push([action, undefined]);
    return this.reply;
  }

  talking: Talking = { state: 'off', can: false, busy: false };

  async talk(on: boolean): Promise<Reply> {
    this.asked.push(['talk', on]);
    this.talking = { ...this.talking, state: on ? 'on' : 'off' };
    this.changed();
    return this.reply;
  }

  async snapshot(): Promise<Blob | undefined> {
    return new Blob(['a picture'], { type: 'image/jpeg' });
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed(): void {
    for (const listener of this.listeners) listener();
  }

  /** A minute that looks like one. */
  measure(now: number): void {
    this.samples = Array.from({ length: 60 }, (_, n) => ({
      atMs: now - (59 - n) * 1_000,
      glassToGlassMs: 28 + 9 * Math.sin(n / 3) + (n === 40 ? 40 : 0),
      bitrateKbps: 2_100 + 300 * Math.sin(n / 7),
      fps: n % 17 === 3 ? 27 : 30,
      loss: n > 35 && n < 42 ? 0.02 : 0,
      rttMs: 2 + Math.abs(Math.sin(n)),
      path: 'host', protocol: 'udp', encoder: 'x264enc', width: 1280, height: 720,
    }));
  }
}
