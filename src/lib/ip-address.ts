import { isIP, SocketAddress } from 'node:net';

/** An address as numbers, the most significant first: one word of 32 bits for IPv4, four for IPv6. */
export interface IpAddress {
  readonly bits: 32 | 128;
  readonly words: readonly number[];
}

const mapped = '::ffff:';

/**
 * Reads an address in its strict text form: dotted decimal without leading zeros, or RFC 4291. An
 * IPv4-mapped address of IPv6 is read as the IPv4 address that it stands for. Nothing for all else:
 * octal and short forms, ports, brackets, zones.
 */
export function parseIpAddress(text: string): IpAddress | undefined {
  const family = isIP(text);
  if (family === 4) return { bits: 32, words: [ipv4Word(text)] };
  if (family !== 6 || text.includes('%')) return undefined;
  const words = ipv6Words(text);
  return isMapped(words) ? { bits: 32, words: [words[3] as number] } : { bits: 128, words };
}

/**
 * An address of IPv6 in the one form that RFC 5952 recommends; an IPv4-mapped one as the IPv4 address that it stands
 * for. Nothing for all else.
 */
export function canonicalAddress(ipv6: string): string | undefined {
  if (isIP(ipv6) !== 6 || ipv6.includes('%')) return undefined;
  return plainAddress(new SocketAddress({ address: ipv6, family: 'ipv6' }).address);
}

/**
 * The text of a socket's address: without the zone of a link-local one, and IPv4 as such where the
 * socket is one for both families.
 */
export function plainAddress(address: string | undefined): string | undefined {
  if (address === undefined) return undefined;
  if (address.startsWith(mapped) && address.includes('.')) return address.slice(mapped.length);
  const zone = address.indexOf('%');
  return zone === -1 ? address : address.slice(0, zone);
}

function ipv4Word(text: string): number {
  let word = 0;
  let part = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      word = word * 256 + part;
      part = 0;
    } else part = part * 10 + (code - 0x30);
  }
  return word * 256 + part;
}

/** Of a text that is an IPv6 address without zone. */
function ipv6Words(text: string): number[] {
  const gap = text.indexOf('::');
  const head = groupsOf(gap === -1 ? text : text.slice(0, gap));
  const tail = gap === -1 ? [] : groupsOf(text.slice(gap + 2));
  const groups = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return [0, 2, 4, 6].map((at) => (groups[at] as number) * 65_536 + (groups[at + 1] as number));
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const word = ipv4Word(group);
    return [Math.floor(word / 65_536), word % 65_536];
  });
}

function isMapped(words: readonly number[]): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
}
