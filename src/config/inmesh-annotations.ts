import { suggest } from '../lib/suggest.ts';
import type { Fault, HedgePolicy, StickySplit } from '../model/route.ts';
import type { Collector } from './collector.ts';
import type { HttpRule } from './delegates.ts';
import { checkHedge, hedgeAnnotation, hedgeOf } from './hedge-annotation.ts';
import { isHeaderName } from './istio-headers.ts';
import type { HttpRouteSpec, VirtualService } from './istio-virtual-service.ts';
import { parseDurationMs } from './values.ts';

/**
 * What inmesh has beyond Istio's API for a VirtualService: annotations of the resource in which a rule is written.
 * `docs/reference/extensions.md` describes them.
 */
const prefix = 'inmesh.dev/';
const stickyKey = `${prefix}sticky`;
const faultLevelKey = `${prefix}fault-level`;
const baggageKey = `${prefix}baggage`;
const idleKey = `${prefix}per-try-idle-timeout`;
const maxFaultsKey = `${prefix}max-active-faults`;
const faultHeadersKey = `${prefix}fault-headers`;
const known: readonly string[] = [
  stickyKey,
  faultLevelKey,
  baggageKey,
  idleKey,
  maxFaultsKey,
  faultHeadersKey,
  hedgeAnnotation,
];

/** Begins the name of a pseudo header that stands for a member of the caller's `baggage`. */
const baggagePrefix = '@baggage.';

/** `@baggage.reviews-canary` in `headers` of a match: the member of the W3C `baggage` header; else nothing. */
export function baggageMember(header: string): string | undefined {
  const name = header.startsWith(baggagePrefix) ? header.slice(baggagePrefix.length) : '';
  return isHeaderName(name) ? name : undefined;
}

/** Does the resource say that `@baggage.…` shall be a condition? Istio would refuse such a name. */
export function allowsBaggage({ annotations }: VirtualService): boolean {
  return annotations[baggageKey] === 'enabled';
}

/** What the annotations of its resource say of a rule. */
export interface RuleExtensions {
  readonly fault: FaultExtensions;
  readonly sticky?: StickySplit;
  readonly perTryIdleMs?: number;
  readonly hedge?: HedgePolicy;
}

export interface Extensions {
  of(rule: HttpRule): RuleExtensions;
}

/** What becomes of the fault of a rule. */
export type FaultExtensions = Pick<Fault, 'level' | 'maxActive' | 'byHeaders'>;

const none: RuleExtensions = { fault: { level: 'call' } };
const ruleKeys: readonly string[] = [stickyKey, faultLevelKey, idleKey, maxFaultsKey, faultHeadersKey, hedgeAnnotation];

export function createExtensions(): Extensions {
  const read = new Map<VirtualService, readonly StickyRule[]>();
  return {
    of({ index, resource, spec }) {
      const { annotations } = resource;
      if (ruleKeys.every((key) => annotations[key] === undefined)) return none;
      let rules = read.get(resource);
      if (rules === undefined) read.set(resource, (rules = readSticky(resource).rules));
      const sticky = rules.find((rule) => appliesTo(rule, spec, index));
      const perTryIdleMs = parseDurationMs(annotations[idleKey] ?? '');
      const hedge = hedgeOf(resource, spec, index);
      return {
        fault: faultExtensions(annotations),
        ...(hedge === undefined ? {} : { hedge }),
        ...(perTryIdleMs === undefined ? {} : { perTryIdleMs }),
        ...(sticky === undefined ? {} : { sticky: splitOf(sticky, resource, spec.name || `http[${index}]`) }),
      };
    },
  };
}

/** Reports what the annotations do, and refuses those that say nothing sensible. */
export function checkExtensions(resource: VirtualService, collector: Collector): void {
  const { annotations } = resource;
  for (const key of Object.keys(annotations)) {
    if (!key.startsWith(prefix)) continue;
    const path = ['metadata', 'annotations', key];
    if (!known.includes(key)) {
      const meant = suggest(key, known);
      const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
      collector.refuse(resource, path, `is not an annotation that is known here${hint}`, annotations[key]);
    } else collector.entry(resource, path, 'enforced');
  }
  checkWord(resource, faultLevelKey, ['call', 'try'], collector);
  checkFaults(resource, collector);
  checkWord(resource, baggageKey, ['enabled', 'disabled'], collector);
  const idle = resource.annotations[idleKey];
  if (idle !== undefined && (parseDurationMs(idle) ?? 0) < 1) {
    collector.refuse(
      resource,
      ['metadata', 'annotations', idleKey],
      'must be a duration of at least 1ms, like 5s',
      idle,
    );
  }
  checkSticky(resource, collector);
  checkHedge(resource, collector);
}

function checkWord(resource: VirtualService, key: string, words: readonly string[], collector: Collector): void {
  const value = resource.annotations[key];
  if (value === undefined || words.includes(value)) return;
  collector.refuse(resource, ['metadata', 'annotations', key], `must be ${words.join(' or ')}`, value);
}

function faultExtensions(annotations: VirtualService['annotations']): FaultExtensions {
  const maxActive = wholeNumber(annotations[maxFaultsKey]);
  const maxPercent = headerPercent(annotations[faultHeadersKey]);
  return {
    level: annotations[faultLevelKey] === 'try' ? 'try' : 'call',
    ...(maxActive === undefined ? {} : { maxActive }),
    ...(maxPercent === undefined ? {} : { byHeaders: { maxPercent } }),
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** `enabled`, or the highest percentage; nothing when callers may not ask for faults. */
function headerPercent(text: string | undefined): number | undefined {
  if (text === 'enabled') return 100;
  const percent = wholeNumber(text);
  return percent !== undefined && percent >= 1 && percent <= 100 ? percent : undefined;
}

function checkFaults(resource: VirtualService, collector: Collector): void {
  const max = resource.annotations[maxFaultsKey];
  if (max !== undefined && wholeNumber(max) === undefined) {
    collector.refuse(resource, ['metadata', 'annotations', maxFaultsKey], 'must be a whole number', max);
  }
  const headers = resource.annotations[faultHeadersKey];
  if (headers === undefined || headers === 'disabled') return;
  const path = ['metadata', 'annotations', faultHeadersKey];
  if (headerPercent(headers) === undefined) {
    collector.refuse(resource, path, 'must be enabled, disabled or a percentage from 1 to 100', headers);
  } else if (resource.annotations[faultLevelKey] === 'try') {
    collector.refuse(resource, path, 'is for faults of calls, and fault-level says try', headers);
  }
}

function checkSticky(resource: VirtualService, collector: Collector): void {
  const path = ['metadata', 'annotations', stickyKey];
  const { rules, problem } = readSticky(resource);
  if (problem !== undefined) collector.refuse(resource, path, problem, resource.annotations[stickyKey]);
  const { http = [] } = resource.body.spec;
  for (const rule of rules) {
    const meant = http.filter((spec, index) => appliesTo(rule, spec, index));
    if (meant.length === 0) {
      collector.refuse(resource, path, `names a route that is not there: ${rule.route}`);
    } else if (!meant.some((spec) => (spec.route ?? []).filter(({ weight = 0 }) => weight > 0).length > 1)) {
      collector.warn(resource, path, 'ignored', 'there is nothing to choose: no such rule has two destinations');
    }
  }
}

interface StickyRule {
  /** Name of a rule, or `http[2]`; absent: every rule. */
  readonly route?: string;
  readonly key: StickySplit['key'];
  readonly baggage?: string;
  readonly seed?: string;
}

function appliesTo({ route }: StickyRule, { name }: HttpRouteSpec, index: number): boolean {
  return route === undefined || route === `http[${index}]` || route === name;
}

function splitOf({ baggage, key, seed }: StickyRule, { name, namespace }: VirtualService, rule: string): StickySplit {
  return {
    key,
    ...(baggage === undefined ? {} : { baggage }),
    seed: seed ?? `${namespace}/${name} ${rule}`,
  };
}

const keyKinds = ['header', 'cookie', 'claim'] as const;
const stickyFields: readonly string[] = ['route', ...keyKinds, 'principal', 'baggage', 'seed'];

/** One object, or a list of them, as JSON. */
function readSticky({ annotations }: VirtualService): {
  readonly rules: readonly StickyRule[];
  readonly problem?: string;
} {
  const text = annotations[stickyKey];
  if (text === undefined) return { rules: [] };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { rules: [], problem: 'must be JSON: {"route": "…", "header": "…"}, or a list of such' };
  }
  const rules: StickyRule[] = [];
  for (const each of Array.isArray(value) ? value : [value]) {
    const rule = readRule(each);
    if (typeof rule === 'string') return { rules: [], problem: rule };
    rules.push(rule);
  }
  return { rules };
}

/** A rule, or what is wrong with it. */
function readRule(value: unknown): StickyRule | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return 'must be an object, or a list of such';
  const fields = value as Readonly<Record<string, unknown>>;
  for (const [name, each] of Object.entries(fields)) {
    if (!stickyFields.includes(name)) return `has the unknown field ${name}; there are ${stickyFields.join(', ')}`;
    const valid = name === 'principal' ? each === true : typeof each === 'string' && each !== '';
    if (!valid) return `must have ${name === 'principal' ? 'true' : 'a text'} as ${name}`;
  }
  const text = (name: string): string | undefined => fields[name] as string | undefined;
  const keys = keyKinds.flatMap((kind) => {
    const name = text(kind);
    return name === undefined ? [] : [{ kind, name: kind === 'header' ? name.toLowerCase() : name } as const];
  });
  const all = [...keys, ...(fields['principal'] === true ? [{ kind: 'principal' } as const] : [])];
  const [key] = all;
  if (key === undefined || all.length > 1) return 'must have exactly one of header, cookie, claim and principal';
  const baggage = text('baggage');
  for (const name of [text('header'), text('cookie'), baggage]) {
    if (name !== undefined && !isHeaderName(name)) return `must not have ${name} as a name: it is no token`;
  }
  const route = text('route');
  const seed = text('seed');
  return {
    key,
    ...(route === undefined ? {} : { route }),
    ...(baggage === undefined ? {} : { baggage }),
    ...(seed === undefined ? {} : { seed }),
  };
}
