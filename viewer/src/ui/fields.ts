// What can be set, from what the device says of itself: pure. The panel draws it.

import type { Control, DeviceState, Info } from '../core/status.ts';
import type { Texts } from '../texts/index.ts';

export interface Field {
  /** As `set` takes it. */
  name: string;
  label: string;
  group: 'picture' | 'sound' | 'camera';
  kind: 'slider' | 'switch' | 'menu' | 'text';
  min?: number;
  max?: number;
  step?: number;
  options?: [value: string, text: string][];
  /** Why it cannot be set now, in words. */
  fixed?: string;
  /** What it is now: a number for a slider, text for a menu, whether it is on for a switch. */
  value: number | string | boolean | undefined;
}

const BITRATES_KBPS = [300, 600, 1_000, 2_000, 4_000, 8_000, 16_000];

export function fieldsOf(info: Info, device: DeviceState, texts: Texts): Field[] {
  return [...pictureFields(info, device, texts), ...soundFields(info, device, texts), ...(info.controls ?? []).flatMap((control) => controlField(control, device, texts))];
}

function pictureFields(info: Info, device: DeviceState, texts: Texts): Field[] {
  const t = texts.settings;
  const has = (feature: string): boolean => info.features?.includes(feature) ?? false;
  const { picture = {} } = device;
  const fields: Field[] = [];
  const add = (name: string, label: string, kind: Field['kind'], value: Field['value'], options?: Field['options']): void => {
    fields.push({ name, label, group: 'picture', kind, value, ...(options && { options }) });
  };
  if (has('settings')) {
    add('resolution', t.resolution, 'menu', ...resolution(info, device, texts));
    add('bitrate', t.bitrate, 'menu', ...bitrate(device, texts));
  }
  if (has('rotate')) add('rotate', t.rotate, 'menu', String(picture.rotate ?? 0), [0, 90, 180, 270].map((n) => [String(n), t.degrees(n)]));
  if (has('mirror')) add('mirror', t.mirror, 'switch', picture.mirror ?? false);
  if (has('scene') && info.scenes?.length) {
    const none: Field['options'] = picture.scene === undefined ? [['', t.noScene]] : [];
    add('scene', t.scene, 'menu', picture.scene ?? '', [...none, ...info.scenes.map((scene): [string, string] => [scene, scene])]);
  }
  if (has('overlay')) add('overlay', t.overlay, 'text', picture.overlay ?? '');
  return fields.filter(({ options }) => options === undefined || options.length > 0);
}

function soundFields({ features }: Info, { audio }: DeviceState, { settings: t }: Texts): Field[] {
  return features?.includes('audio') ? [{ name: 'audio', label: t.microphone, group: 'sound', kind: 'switch', value: audio?.on ?? true }] : [];
}

/** The sizes of `info`, each once; the one that is used, as the camera gives it: not turned. */
function resolution(info: Info, device: DeviceState, { settings: t }: Texts): [string | undefined, [string, string][]] {
  const sizes = new Map((info.modes ?? []).map(({ width, height }) => [`${width}x${height}`, width * height]));
  const names = [...sizes].sort((a, b) => b[1] - a[1]).map(([size]) => size);
  const turned = (device.picture?.rotate ?? 0) % 180 !== 0;
  const [width, height] = turned ? [device.height, device.width] : [device.width, device.height];
  const now = width && height ? `${width}x${height}` : undefined;
  const shown = (size: string): string => size.replace('x', ' × ');
  const options = names.map((size): [string, string] => [size, shown(size)]);
  if (now && options.length > 0 && !sizes.has(now)) options.unshift([now, t.now(shown(now))]);
  return [now, options];
}

function bitrate({ ceilingKbps: now }: DeviceState, { settings: t, locale }: Texts): [string | undefined, [string, string][]] {
  const rates = [...new Set([...BITRATES_KBPS, ...(now === undefined ? [] : [Math.round(now)])])].sort((a, b) => a - b);
  const options = rates.map((rate): [string, string] => [String(rate), `${rate.toLocaleString(locale)} kbit/s`]);
  return [now === undefined ? undefined : String(Math.round(now)), [['auto', t.automatic], ...options]];
}

function controlField(control: Control, device: DeviceState, texts: Texts): Field[] {
  const { name, type, min = 0, max = 0, step = 1 } = control;
  const t = texts.settings;
  const now = device.controls?.[name];
  const fixed = control.readOnly ? t.readOnly : control.inactive ? t.inactive : undefined;
  const base = { name: `control/${name}`, label: labelOf(name, texts), group: 'camera' as const, ...(fixed !== undefined && { fixed }) };
  switch (type) {
    case 'bool':
      return [{ ...base, kind: 'switch', value: now === true || now === 1 }];
    case 'menu': {
      const options = (control.menu ?? []).map(({ value, text }): [string, string] => [String(value), text]);
      const value = typeof now === 'string' ? control.menu?.find(({ text }) => text === now)?.value : now;
      return options.length === 0 ? [] : [{ ...base, kind: 'menu', options, value: value === undefined || value === null ? undefined : String(value) }];
    }
    default:
      if (!(max > min)) return [];
      return [{ ...base, kind: 'slider', min, max, step: step > 0 ? step : 1, value: typeof now === 'number' ? now : undefined }];
  }
}

/** `power_line_frequency` is "Power line frequency", where no language has better words. */
function labelOf(name: string, texts: Texts): string {
  const known = new Map(Object.entries(texts.controls)).get(name);
  if (known !== undefined) return known;
  const words = name.replace(/_+/g, ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

type Rectangle = [x: number, y: number, width: number, height: number];

/** `part` of what is shown now, as a part of the whole picture of which `crop` is shown now. */
export function cropOf(part: Rectangle, crop: Rectangle = [0, 0, 1, 1]): Rectangle {
  const round = (n: number): number => Math.round(n * 1e4) / 1e4;
  return [round(crop[0] + part[0] * crop[2]), round(crop[1] + part[1] * crop[3]), round(part[2] * crop[2]), round(part[3] * crop[3])];
}
