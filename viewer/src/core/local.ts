// Browsers ask before a page from the internet may reach devices in the reader's network: what needs that permission. Pure.

/** Address spaces as Chrome's Local Network Access has them, from the most private on. */
export type Space = 'loopback' | 'local' | 'public';

const RANK: readonly Space[] = ['loopback', 'local', 'public'];
const LOCAL_IPV4 = /^(10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.)/;

/** Of a host as `URL.hostname` has it. What a name of the internet leads to nobody knows here: it counts as public. */
export function spaceOf(host: string): Space {
  if (host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host)) return 'loopback';
  if (/^[\d.]+$/.test(host)) return LOCAL_IPV4.test(host) ? 'local' : 'public';
  if (host.startsWith('[')) return /^\[(f[cd]|fe[89ab])/i.test(host) ? 'local' : 'public';
  return host.endsWith('.local') || !host.includes('.') ? 'local' : 'public';
}

/** The space for which a page from `page` needs leave to reach `target`; nothing, if it needs none. */
export function guarded(page: string, target: string): Exclude<Space, 'public'> | undefined {
  const space = spaceOf(target);
  return space !== 'public' && RANK.indexOf(space) < RANK.indexOf(spaceOf(page)) ? space : undefined;
}

/** The permission's names, the newest first. */
export const permissionNames = (space: Exclude<Space, 'public'>): string[] =>
  [space === 'local' ? 'local-network' : 'loopback-network', 'local-network-access'];
