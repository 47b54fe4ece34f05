import { readFileSync } from 'node:fs';

/** How a request is sent. */
export type Kind =
  | 'http1'
  | 'http1-mtls'
  | 'http1-raw'
  | 'raw'
  | 'http2'
  | 'http2-raw'
  | 'h2c'
  | 'tcp'
  | 'policy'
  | 'regex'
  | 'load'
  | 'outbound'
  | 'upstream'
  | 'config'
  | 'scan'
  | 'generator';

/** What is sent. Texts may hold `{{text*count}}`. */
export interface Input {
  readonly kind: Kind;
  readonly method?: string;
  readonly target?: string;
  /** As an object, or as pairs where order and repetition matter. */
  readonly headers?: Readonly<Record<string, string>> | readonly (readonly [string, string])[];
  /** `http1-raw`: CRLF between them, an empty line behind them. */
  readonly lines?: readonly string[];
  /** `raw`: the bytes, latin1. */
  readonly bytes?: string;
  /** SPIFFE id that the certificate of the caller proves. */
  readonly peer?: string;
  /** The case is about callers without an identity. */
  readonly plaintext?: true;
  /** `http2`: beside or instead of the usual ones. */
  readonly pseudo?: Readonly<Record<string, string>>;
  /** Sent along where the layer says how tokens are made. */
  readonly jwt?: Readonly<Record<string, unknown>>;
  /** What scripts need; free. */
  readonly [more: string]: unknown;
}

/**
 * The decision that must be taken: `allow`, `deny`, `unauthenticated`, `reject` (before any handler),
 * `sanitise` (goes on without the hostile part), `ignore` (the hostile part has no effect), `bounded`
 * (within limits; by the script), `refuse-config`, `reset` (no answer: what breaks the rules of HTTP/2 is
 * answered in its words, RFC 9113 section 8.1.1).
 */
export interface Expected {
  readonly decision: string;
  readonly status?: number;
}

export interface Attack {
  readonly id: string;
  readonly title: string;
  /** Names of configurations, joined with ` + `. */
  readonly config: string;
  readonly input: Input;
  readonly expected: Expected;
  /** Ways (by a part of their names) that the case does not concern, and why. */
  readonly except?: Readonly<Record<string, string>>;
  /** Ways (by a part of their names) on which the decision is another one. */
  readonly instead?: Readonly<Record<string, Expected>>;
  /** Where the case comes from, if not from the catalogue. */
  readonly source?: string;
}

/** One file of `test/fixtures/attacks/`. */
export interface Fixture {
  /** Beside those that all layers share. */
  readonly configs?: Readonly<Record<string, string>>;
  readonly cases?: readonly Attack[];
  /** Cases that need no server: by id the test that has the id in its name. */
  readonly elsewhere?: Readonly<Record<string, string>>;
  /** Cases of the catalogue that nothing here can meet yet, by id, and why. */
  readonly pending?: Readonly<Record<string, string>>;
}

/** What is demanded of each id of the catalogue, whatever the fixtures say. */
export interface Demanded {
  /** Decision and status, by id. */
  readonly demanded: Readonly<Record<string, string>>;
  /** How many of what the case does, by id: `input.n`. */
  readonly amounts: Readonly<Record<string, number>>;
  /** Why a case is run or decided in another way, by id. */
  readonly otherwise: Readonly<Record<string, string>>;
}

export function readDemanded(): Demanded {
  return JSON.parse(readFileSync(new URL('../../fixtures/attacks/demanded.json', import.meta.url), 'utf8')) as Demanded;
}

export function readFixture(name: string): Fixture {
  return JSON.parse(readFileSync(new URL(`../../fixtures/attacks/${name}.json`, import.meta.url), 'utf8')) as Fixture;
}

/** How often the quick form of a case does what the case does `n` times. */
export function quickCount(input: Input): number {
  return Number(input['quick'] ?? input['n']);
}

/** `{{text*count}}`. */
export function expand(text: string): string {
  return text.replace(/\{\{([\s\S]*?)\*(\d+)\}\}/g, (_, part: string, count: string) => part.repeat(Number(count)));
}

/** The headers of a case, in order, expanded. */
export function headersOf({ headers = {} }: Input): readonly (readonly [string, string])[] {
  const pairs = (Array.isArray(headers) ? headers : Object.entries(headers)) as (readonly [string, string])[];
  return pairs.map(([name, value]) => [name, expand(value)] as const);
}

/** The bytes of a case that is sent over HTTP/1.1. */
export function bytesOf(input: Input, more: readonly (readonly [string, string])[] = []): string {
  if (input.bytes !== undefined) return expand(input.bytes);
  if (input.lines !== undefined) return `${input.lines.map(expand).join('\r\n')}\r\n\r\n`;
  const headers = [...headersOf(input), ...more];
  const host = headers.some(([name]) => name.toLowerCase() === 'host') ? [] : [['host', 'web'] as const];
  const lines = [...host, ...headers].map(([name, value]) => `${name}: ${value}\r\n`);
  return `${input.method ?? 'GET'} ${expand(input.target ?? '/')} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** How many responses the bytes ask for. */
export function answersOf({ lines }: Input): number {
  return Math.max(1, lines?.filter((line) => line.includes(' HTTP/')).length ?? 1);
}
