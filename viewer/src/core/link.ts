// What a viewing link says: `PAGE#broker=URL&device=ID&key=…&grant=…&secret=…`, optionally `root=` and `viewer=`.
// Everything here comes from outside, so it is checked before anything else sees it.

import { fromBase64Url, KEY_BYTES } from './access.ts';

/** What is known so far, from the fragment or from the daemon's viewer.json. */
export interface Fields {
  broker?: string;
  device?: string;
  root?: string;
  viewer?: string;
  name?: string;
  key?: string;
  grant?: string;
  secret?: string;
  iceServers?: IceServer[];
  /** The served device lets in only who was invited. */
  invitesOnly?: boolean;
  /** The served device's own broker: what it says of a link is said by the device. */
  ownBroker?: string;
  /** A field came twice, so nobody can tell which one is meant. */
  repeated?: boolean;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

/** A complete link: enough to connect. `url` carries no user name or password. */
export interface Link {
  url: string;
  username?: string;
  password?: string;
  device: string;
  root: string;
  viewer?: string;
  name?: string;
  key?: string;
  grant?: string;
  secret?: string;
  iceServers: IceServer[];
  /** `url` is a WHEP endpoint: there is no broker. */
  whep?: true;
  /** What is shown there: a grant's token. */
  token?: string;
}

/** Why a link cannot be used; `words.ts` turns each into a sentence. */
export type Flaw = 'no-broker' | 'no-device' | 'bad-broker' | 'bad-device' | 'bad-viewer' | 'bad-root' | 'insecure' | Damage;

/** Flaws that no form can mend: what the link was given for is not whole, and to go on without it would be less safe. */
export type Damage = (typeof DAMAGE)[number];
const DAMAGE = ['bad-key', 'bad-grant', 'bad-secret', 'no-grant', 'no-secret', 'repeated'] as const;

export const isDamage = (flaw: Flaw): flaw is Damage => (DAMAGE as readonly Flaw[]).includes(flaw);

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const ROOT = /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/;
export const FRAGMENT_FIELDS = ['broker', 'device', 'root', 'viewer', 'key', 'grant', 'secret'] as const;
const SAFETY_FIELDS: readonly string[] = ['key', 'grant', 'secret'];

export const isId = (text: unknown): text is string => typeof text === 'string' && ID.test(text);

/**
 * Reads a URL fragment, with or without its `#`. Empty fields count as absent, except those that make the picture
 * safe: a link that lost its key on the way must not pass for one that never had any.
 */
export function parseFragment(hash: string): Fields {
  const params = new URLSearchParams(hash.replace(/^#/, ''));
  const fields: Fields = {};
  for (const field of FRAGMENT_FIELDS) {
    const value = params.get(field)?.trim();
    if (value || (value === '' && SAFETY_FIELDS.includes(field))) fields[field] = value;
    if (params.getAll(field).length > 1) fields.repeated = true;
  }
  return fields;
}

/** Reads the daemon's viewer.json; anything of the wrong shape counts as absent. */
export function parseServed(json: unknown): Fields {
  const fields: Fields = {};
  if (typeof json !== 'object' || json === null) return fields;
  const source = json as Record<string, unknown>;
  for (const field of ['broker', 'device', 'root', 'name'] as const) {
    const value = source[field];
    if (typeof value === 'string' && value !== '') fields[field] = value;
  }
  if (source['access'] === 'grants') fields.invitesOnly = true;
  if (source['builtInBroker'] === true && fields.broker) fields.ownBroker = fields.broker;
  const iceServers = parseIceServers(source['iceServers']);
  if (iceServers) fields.iceServers = iceServers;
  return fields;
}

/** The fragment's fields win. The served name belongs to the served device only. */
export function merge(fragment: Fields, served: Fields): Fields {
  const fields = { ...served, ...fragment };
  if (fields.device !== served.device) {
    delete fields.name;
    delete fields.invitesOnly;
  }
  return fields;
}

/** The camera is known to ask for an invitation, and there is none: nothing has to be tried to know the answer. */
export const lacksInvitation = ({ invitesOnly, grant, secret }: Fields): boolean =>
  invitesOnly === true && grant === undefined && secret === undefined;

/** Checks everything and gives a link that can be used as it is, or says what is wrong with it. */
export function complete(fields: Fields, pageProtocol = 'http:'): Link | Flaw[] {
  const flaws: Flaw[] = [];
  const url = fields.broker === undefined ? undefined : parseBroker(fields.broker);
  const root = fields.root ?? 'porthole';
  if (fields.broker === undefined) flaws.push('no-broker');
  else if (!url) flaws.push('bad-broker');
  else if (pageProtocol === 'https:' && url.protocol === 'ws:' && !isLoopback(url.hostname)) flaws.push('insecure');
  if (fields.device === undefined) flaws.push('no-device');
  else if (!isId(fields.device)) flaws.push('bad-device');
  if (fields.viewer !== undefined && !isId(fields.viewer)) flaws.push('bad-viewer');
  if (root.length > 128 || !ROOT.test(root)) flaws.push('bad-root');
  flaws.push(...damages(fields));
  if (!url || !fields.device || flaws.length > 0) return flaws;

  const link: Link = { url: '', device: fields.device, root, iceServers: fields.iceServers ?? [] };
  for (const field of ['viewer', 'name', 'key', 'grant', 'secret'] as const) {
    const value = fields[field];
    if (value !== undefined) link[field] = value;
  }
  if (url.username) link.username = decode(url.username);
  if (url.password) link.password = decode(url.password);
  url.username = '';
  url.password = '';
  link.url = url.href;
  return link;
}

function damages({ key, grant, secret, repeated }: Fields): Damage[] {
  const found: Damage[] = [];
  if (repeated) found.push('repeated');
  if (key !== undefined && !fromBase64Url(key, KEY_BYTES)) found.push('bad-key');
  if (grant !== undefined && !isId(grant)) found.push('bad-grant');
  if (secret !== undefined && !fromBase64Url(secret, KEY_BYTES)) found.push('bad-secret');
  if (grant === undefined && secret !== undefined) found.push('no-grant');
  if (grant !== undefined && secret === undefined) found.push('no-secret');
  return found;
}

/**
 * What the person typed into the form, taken over. Key, grant and secret belong to the camera that the link named,
 * and are not carried on to another one.
 */
export function retyped(fields: Fields, broker: string, device: string): Fields {
  const { key, grant, secret, ...rest } = fields;
  const same = fields.device === undefined || fields.device === device;
  const safety = Object.entries({ key, grant, secret }).filter(([, value]) => value !== undefined);
  return { ...rest, ...(same ? Object.fromEntries(safety) : {}), broker, device };
}

/** The fragment that says the same, for the address bar. */
export function toFragment(fields: Fields): string {
  const params = new URLSearchParams();
  for (const field of FRAGMENT_FIELDS) {
    const value = fields[field];
    if (value) params.set(field, value);
  }
  return `#${params}`;
}

/** What people type ("camera.local:9001") made into a URL. */
export function typedBroker(text: string, pageProtocol: string): string {
  const typed = text.trim();
  if (typed === '' || /^[a-z][a-z0-9+.-]*:\/\//i.test(typed)) return typed;
  return `${pageProtocol === 'https:' ? 'wss' : 'ws'}://${typed}`;
}

/** At most eight servers, each with STUN or TURN URLs; undefined when there is none. */
export function parseIceServers(json: unknown): IceServer[] | undefined {
  if (!Array.isArray(json)) return undefined;
  const servers: IceServer[] = [];
  for (const entry of json.slice(0, 8) as unknown[]) {
    if (typeof entry !== 'object' || entry === null) continue;
    const { urls, username, credential } = entry as Record<string, unknown>;
    const list = (Array.isArray(urls) ? (urls as unknown[]) : [urls])
      .filter((url): url is string => typeof url === 'string' && /^(stun|turn)s?:[^\s]+$/i.test(url));
    if (list.length === 0) continue;
    const server: IceServer = { urls: list };
    if (typeof username === 'string') server.username = username;
    if (typeof credential === 'string') server.credential = credential;
    servers.push(server);
  }
  return servers.length > 0 ? servers : undefined;
}

function parseBroker(text: string): URL | undefined {
  try {
    const url = new URL(text);
    if ((url.protocol !== 'ws:' && url.protocol !== 'wss:') || url.hostname === '') return undefined;
    url.hash = '';
    return url;
  } catch {
    return undefined;
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host.startsWith('127.');
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
