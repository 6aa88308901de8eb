// The panel of statistics: what is measured now, and its last minute.

import type { Camera, Sample } from '../camera.ts';
import type { Texts } from '../texts/index.ts';
import { make, setTo, SVG, write } from './dom.ts';
import { line, range } from './plot.ts';
import { microphoneWords } from './soundwords.ts';

interface Row {
  of(sample: Sample): number | undefined;
  label: string;
  unit: string;
  digits: number;
  /** Only there while something is known of it. */
  isOptional?: boolean;
  /** Added for the plot, whose lowest is 0. */
  lift?: number;
}

/** Quieter than this is silence. */
const SILENCE_DB = -60;

const [WIDTH, HEIGHT] = [120, 28];

export class Statistics {
  readonly element = make('div', { class: 'ui-stats', part: 'statistics' });
  private readonly rows: [Row, HTMLElement, SVGSVGElement, SVGPathElement][];
  private readonly path: HTMLElement;
  private readonly encoder: HTMLElement;
  private readonly size: HTMLElement;
  private readonly sound = make('p', { class: 'ui-quiet', part: 'sound-state' });

  constructor(private readonly camera: Camera, private readonly texts: Texts) {
    const t = texts.statistics;
    const list = make('dl');
    const row = (label: string, plot?: Element): HTMLElement => {
      const value = make('span');
      list.append(make('div', {}, make('dt', {}, label), make('dd', {}, value, ...(plot ? [plot] : []))));
      return value;
    };
    const figures: Row[] = [
      { of: (sample) => sample.glassToGlassMs, label: t.latency, unit: 'ms', digits: 0 },
      { of: (sample) => sample.bitrateKbps, label: t.bitrate, unit: 'kbit/s', digits: 0 },
      { of: (sample) => sample.fps, label: t.fps, unit: t.perSecond, digits: 0 },
      { of: (sample) => sample.loss === undefined ? undefined : sample.loss * 100, label: t.loss, unit: '%', digits: 1 },
      { of: (sample) => sample.rttMs, label: t.rtt, unit: 'ms', digits: 1 },
      { of: (sample) => sample.audioKbps, label: t.audioBitrate, unit: 'kbit/s', digits: 0, isOptional: true },
      { of: (sample) => sample.audioLoss === undefined ? undefined : sample.audioLoss * 100, label: t.audioLoss, unit: '%', digits: 1, isOptional: true },
      { of: (sample) => sample.audioDelayMs, label: t.audioDelay, unit: 'ms', digits: 0, isOptional: true },
      { of: (sample) => sample.audioLevelDb, label: t.audioLevel, unit: 'dB', digits: 0, isOptional: true, lift: -SILENCE_DB },
    ];
    this.rows = figures.map((figure) => {
      const [svg, drawn] = plot();
      return [figure, row(figure.label, svg), svg, drawn];
    });
    this.path = row(t.path);
    this.encoder = row(t.encoder);
    this.size = row(t.size);
    this.element.append(list, this.sound, make('p', { class: 'ui-quiet' }, t.lastMinute));
  }

  update(now = performance.now()): void {
    const t = this.texts.statistics;
    const { samples } = this.camera;
    for (const [row, value, svg, drawn] of this.rows) {
      const figures = samples.map((sample) => ({ ageS: (now - sample.atMs) / 1_000, value: row.of(sample) }));
      const known = range(figures);
      if (row.isOptional) hideRow(value, known === undefined);
      const say = (n: number): string => `${this.number(n, row.digits)} ${row.unit}`;
      const newest = figures.at(-1);
      write(value, newest?.value === undefined || newest.ageS > 5 ? t.unknown : say(newest.value));
      const lift = row.lift ?? 0;
      const drawable = figures.map(({ ageS, value: at }) => ({ ageS, value: at === undefined ? at : at + lift }));
      setTo(drawn, 'd', line(drawable, WIDTH, HEIGHT));
      setTo(svg, 'aria-label', known ? t.minute(say(known.least), say(known.most), say(known.last)) : t.noMinute);
    }
    const last = samples.at(-1);
    write(this.sound, microphoneWords(this.camera.info, this.camera.device, this.texts) ?? '');
    write(this.path, this.pathWords(last));
    write(this.encoder, last?.encoder ?? t.unknown);
    write(this.size, last?.width && last.height ? `${last.width} × ${last.height}` : t.unknown);
  }

  private pathWords(sample: Sample | undefined): string {
    const t = this.texts.statistics;
    if (!sample?.path) return t.unknown;
    const path = sample.path === 'relay' ? t.relay : sample.path === 'host' ? t.direct : t.directNat;
    return sample.protocol ? t.over(path, sample.protocol.toUpperCase()) : path;
  }

  private number(n: number, digits: number): string {
    return n.toLocaleString(this.texts.locale, { maximumFractionDigits: digits, minimumFractionDigits: digits });
  }
}

function hideRow(value: HTMLElement, isHidden: boolean): void {
  const row = value.closest('div');
  if (row) row.hidden = isHidden;
}

function plot(): [SVGSVGElement, SVGPathElement] {
  const svg = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  for (const [name, value] of [['class', 'ui-plot'], ['role', 'img'], ['viewBox', `0 -2 ${WIDTH} ${HEIGHT + 4}`], ['preserveAspectRatio', 'none']] as const) {
    svg.setAttribute(name, value);
  }
  path.setAttribute('vector-effect', 'non-scaling-stroke');
  svg.append(path);
  return [svg, path];
}

