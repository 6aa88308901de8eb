// Which key does what. Keys with Ctrl, Alt or Meta are the browser's.

export type Command = 'fullscreen' | 'pip' | 'snapshot' | 'record' | 'sound' | 'settings' | 'statistics' | 'keys';

export const COMMANDS: Record<string, Command> = {
  f: 'fullscreen', p: 'pip', s: 'snapshot', r: 'record', m: 'sound', e: 'settings', i: 'statistics', '?': 'keys',
};

interface Key {
  key: string;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
  defaultPrevented: boolean;
}

/** The key, if it is meant for the camera: not while somebody types or moves a slider, and not for what a button does with it. */
export function meant(event: Key, target: { localName: string } | undefined): string | undefined {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return undefined;
  if (event.key === 'Escape') return event.key;
  if (target && ['input', 'select', 'textarea'].includes(target.localName)) return undefined;
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}
