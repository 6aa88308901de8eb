// A link may name several cameras: `#broker=…&device=a&key=…&grant=…&secret=…&device=b&key=…`. A camera begins where `device`,
// `broker` or `root` comes again; one that begins with `device` is on the same broker as the one before it.

import { FRAGMENT_FIELDS, parseFragment, toFragment, type Fields } from './link.ts';

/** More than anybody looks at; a longer link is no link. */
const MOST_CAMERAS = 64;
const STARTS: readonly string[] = ['broker', 'root', 'device'];
const SHARED = ['broker', 'root', 'viewer'] as const;

/** The cameras of a fragment, at least one. Where nobody can tell which field belongs to whom there is one, and it is `repeated`. */
export function parseCameras(hash: string): Fields[] {
  const groups: [string, string][][] = [[]];
  for (const pair of new URLSearchParams(hash.replace(/^#/, ''))) {
    if (!(FRAGMENT_FIELDS as readonly string[]).includes(pair[0])) continue;
    const group = groups[groups.length - 1]!;
    const isNext = names(group, 'device') && STARTS.includes(pair[0]) && groups.some((earlier) => names(earlier, pair[0]));
    if (isNext) groups.push([pair]);
    else group.push(pair);
  }
  const cameras = groups.map((group) => parseFragment(new URLSearchParams(group).toString()));
  cameras.forEach((camera, at) => inherit(camera, cameras[at - 1]));
  const ids = new Set(cameras.map(({ broker, root, device }) => JSON.stringify([broker, root, device])));
  const isWhole = cameras.length === 1
    || (cameras.length <= MOST_CAMERAS && ids.size === cameras.length && cameras.every(({ device, repeated }) => device !== undefined && !repeated));
  return isWhole ? cameras : [{ ...cameras[0], repeated: true }];
}

const names = (group: [string, string][], field: string): boolean => group.some(([known]) => known === field);

function inherit(camera: Fields, before: Fields | undefined): void {
  if (!before || camera.broker !== undefined) return;
  for (const field of SHARED) {
    const value = before[field];
    if (value !== undefined && camera[field] === undefined) camera[field] = value;
  }
}

/** The fragment that names all of them. */
export function toCamerasFragment(cameras: readonly Fields[]): string {
  const parts = cameras.map((camera, at) => {
    const before = cameras[at - 1];
    const isShared = before !== undefined && SHARED.every((field) => before[field] === camera[field]);
    const { broker: _broker, root: _root, viewer: _viewer, ...rest } = camera;
    return toFragment(isShared ? rest : camera).slice(1);
  });
  return `#${parts.join('&')}`;
}

/** The same without what nobody else may read: what may stand in the address bar. */
export function withoutSecrets(fields: Fields): Fields {
  const { secret: _, ...bare } = fields;
  const password = /^(wss?:\/\/[^/?#]*?):[^/?#]*@/i;
  if (bare.broker !== undefined) bare.broker = bare.broker.replace(password, '$1@');
  return bare;
}
