// What an element's attributes and properties say, made into a link that can be used or into words for what is wrong with it. Pure.

import { complete, isDamage, lacksInvitation, parseFragment, type Fields, type Link } from '../core/link.ts';
import { flawWords, sayFlaws, sayUninvited, type Say } from '../core/words.ts';
import { en, type Texts } from '../texts/en.ts';

/** The attributes that say where the camera is; each has a property of its name. */
export const PLACE = ['broker', 'device', 'root', 'key', 'grant', 'secret', 'name', 'link', 'whep', 'token'] as const;

export type Place = { [Attribute in (typeof PLACE)[number]]?: string };

/** What only properties can say: ICE servers, that the camera asks for an invitation, or a whole link. */
export type Further = Fields;

export type Source = { link: Link; say?: never } | { link?: never; say: Say };

/** `protocol` and `base` are those of the page, which decides which brokers its browser lets it reach. */
export function sourceOf(place: Place, further: Further, protocol: string, base: string, texts: Texts = en): Source {
  if (place.whep !== undefined) return whepSource(place, further, base, texts);
  const { link, name } = place;
  const fields: Fields = link === undefined ? { ...further } : { ...further, ...parseFragment(link.slice(link.indexOf('#') + 1)) };
  if (link === undefined) {
    for (const field of ['broker', 'device', 'root', 'key', 'grant', 'secret'] as const) {
      const value = place[field];
      // A key that is there and empty has been lost on the way: it must not pass for none.
      if (value !== undefined && (value !== '' || field === 'key' || field === 'grant' || field === 'secret')) fields[field] = value;
    }
  }
  if (name) fields.name = name;
  if (lacksInvitation(fields)) return { say: sayUninvited(fields.name ?? fields.device ?? texts.element.thisCamera, texts) };
  const made = complete(fields, protocol);
  if (!Array.isArray(made)) return { link: made };
  const say = sayFlaws(made, texts);
  return { say: made.some(isDamage) ? say : { ...say, hint: made.map((flaw) => flawWords(flaw, texts)).join(' ') } };
}

function whepSource({ whep, token, name }: Place, { iceServers = [] }: Further, base: string, texts: Texts): Source {
  const url = parseUrl(whep ?? '', base);
  if (!url) {
    const say = sayFlaws(['no-device'], texts);
    return { say: { ...say, code: 'bad-whep', hint: texts.element.badWhep } };
  }
  return { link: { url, whep: true, device: name ?? new URL(url).hostname, root: 'porthole', iceServers, ...(name && { name }), ...(token && { token }) } };
}

function parseUrl(text: string, base: string): string | undefined {
  try {
    const url = new URL(text, base);
    return text !== '' && (url.protocol === 'http:' || url.protocol === 'https:') ? url.href : undefined;
  } catch {
    return undefined;
  }
}
