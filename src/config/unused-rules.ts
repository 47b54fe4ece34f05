import type { Path } from './document.ts';
import type { HttpMatchSpec, StringMatchSpec, VirtualServiceSpec } from './istio-virtual-service.ts';

/** A rule, or one `match` entry of it, that no request can reach. */
export interface UnusedRule {
  /** From below `spec`: `['http', 2]`, or `['http', 2, 'match', 0]`. */
  readonly path: Path;
  readonly reason: string;
}

interface AnyRule {
  readonly delegate?: object;
  readonly name?: string;
  readonly match?: readonly object[];
}

/** Rules that stand behind others which take everything they ask for. Pure: looks at one VirtualService only. */
export function findUnusedRules({ http = [], tcp = [], tls = [] }: VirtualServiceSpec): readonly UnusedRule[] {
  return [
    ...findRepeated('http', http),
    ...findRepeated('tcp', tcp),
    ...findRepeated('tls', tls),
    ...findCovered(http),
  ];
}

/** Rules after one without conditions, and entries that are there twice. */
function findRepeated(kind: string, rules: readonly AnyRule[]): readonly UnusedRule[] {
  const found: UnusedRule[] = [];
  const seen = new Map<string, string>();
  let everything: string | undefined;
  for (const [index, rule] of rules.entries()) {
    const name = nameOf(kind, rule, index);
    const path = [kind, index];
    if (everything !== undefined) {
      found.push({ path, reason: `${everything} has no conditions and takes everything` });
      continue;
    }
    const { match = [] } = rule;
    if (match.length === 0) {
      // The rules of a delegate have conditions of their own.
      if (rule.delegate === undefined) everything = name;
      continue;
    }
    const repeated = match.flatMap((conditions, at) => {
      const key = canonical({ ...conditions, name: '' });
      const before = seen.get(key);
      if (before === undefined) seen.set(key, name);
      return before === undefined ? [] : [{ at, before }];
    });
    if (repeated.length === match.length) {
      found.push({ path, reason: `${repeated[0]?.before} has the same conditions` });
      continue;
    }
    for (const { at, before } of repeated) {
      found.push({ path: [...path, 'match', at], reason: `${before} has the same conditions` });
    }
  }
  return found;
}

interface Entry {
  readonly rule: string;
  readonly match: HttpMatchSpec;
  readonly prefix: string;
}

/** Entries whose paths all begin with a prefix that an earlier entry takes under the same or fewer conditions. */
function findCovered(rules: NonNullable<VirtualServiceSpec['http']>): readonly UnusedRule[] {
  const found: UnusedRule[] = [];
  const before = new Map<string, Entry[]>();
  for (const [index, rule] of rules.entries()) {
    if ((rule.match ?? []).length === 0 && rule.delegate === undefined) break;
    for (const [at, match] of (rule.match ?? []).entries()) {
      const { prefix, exact } = match.uri ?? {};
      const cover = findCover(before, match, prefix ?? exact ?? '', prefix);
      if (cover !== undefined) {
        const reason = `${cover.rule} takes all paths that begin with ${cover.prefix} before it`;
        found.push({ path: ['http', index, 'match', at], reason });
      } else if (prefix !== undefined && rule.delegate === undefined) {
        const entries = before.get(prefix) ?? [];
        before.set(prefix, entries);
        entries.push({ rule: nameOf('http', rule, index), match, prefix });
      }
    }
  }
  return found;
}

/** Looks up every beginning of the path, so that the cost does not grow with the number of rules. */
function findCover(
  before: ReadonlyMap<string, readonly Entry[]>,
  match: HttpMatchSpec,
  path: string,
  prefix: string | undefined,
): Entry | undefined {
  for (let length = 1; before.size > 0 && length <= path.length; length++) {
    const start = path.slice(0, length);
    // Of the same prefix only equal conditions are worth a word, and they have theirs.
    if (start === prefix) continue;
    const cover = before.get(start)?.find((entry) => covers(entry.match, match));
    if (cover !== undefined) return cover;
  }
  return undefined;
}

/** Does every request with the conditions of `inner` have those of `outer`? Says no when it cannot tell. */
function covers(outer: HttpMatchSpec, inner: HttpMatchSpec): boolean {
  if ((outer.ignoreUriCase ?? false) !== (inner.ignoreUriCase ?? false)) return false;
  for (const key of ['scheme', 'method', 'authority'] as const) if (!implies(inner[key], outer[key])) return false;
  for (const key of ['headers', 'queryParams'] as const) {
    for (const [name, match] of Object.entries(outer[key] ?? {})) if (!implies(inner[key]?.[name], match)) return false;
  }
  const rest = ({
    withoutHeaders = {},
    port = 0,
    gateways = [],
    sourceLabels = {},
    sourceNamespace = '',
  }: HttpMatchSpec) => canonical({ withoutHeaders, port, gateways, sourceLabels, sourceNamespace });
  return rest(outer) === rest(inner);
}

/** Does a text that meets the first condition meet the second? */
function implies(given: StringMatchSpec | undefined, wanted: StringMatchSpec | undefined): boolean {
  if (wanted === undefined) return true;
  if (given === undefined) return false;
  if (Object.keys(wanted).length === 0) return true;
  if (wanted.prefix !== undefined) return (given.exact ?? given.prefix)?.startsWith(wanted.prefix) ?? false;
  return canonical(given) === canonical(wanted);
}

/** A text for a value; the order in which fields are written does not count. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const fields = value as Readonly<Record<string, unknown>>;
  return `{${Object.keys(fields)
    .sort()
    .map((key) => `${key}:${canonical(fields[key])}`)
    .join()}}`;
}

function nameOf(kind: string, { name }: AnyRule, index: number): string {
  return name === undefined || name === '' ? `${kind}[${index}]` : `rule ${name}`;
}
