import type { HedgePolicy } from '../model/route.ts';
import type { Collector } from './collector.ts';
import type { HttpRouteSpec, VirtualService } from './istio-virtual-service.ts';
import { parseDurationMs } from './values.ts';

/** Another try beside one that takes long: one object as JSON, or a list of them, for rules of the resource. */
export const hedgeAnnotation = 'inmesh.dev/hedge';

/** Of several the first one that is for a rule counts. */
interface HedgeRule {
  /** Name of a rule, or `http[2]`; absent: every rule. */
  readonly route?: string;
  readonly policy: HedgePolicy;
}

const modes = ['perTryTimeout', 'after', 'percentile'] as const;
const fields: readonly string[] = ['route', ...modes, 'min', 'attempts'];
/** More tries at a time help nobody. */
const maxAttempts = 5;

/** What the annotation says of one rule. Bad ones say nothing: they were refused. */
export function hedgeOf({ annotations }: VirtualService, spec: HttpRouteSpec, index: number): HedgePolicy | undefined {
  const rules = readRules(annotations[hedgeAnnotation]);
  if (typeof rules === 'string') return undefined;
  return rules.find((rule) => isFor(rule, spec, index))?.policy;
}

/** Refuses what says nothing sensible. */
export function checkHedge(resource: VirtualService, collector: Collector): void {
  const text = resource.annotations[hedgeAnnotation];
  const path = ['metadata', 'annotations', hedgeAnnotation];
  const rules = readRules(text);
  if (typeof rules === 'string') {
    collector.refuse(resource, path, rules, text);
    return;
  }
  const { http = [] } = resource.body.spec;
  for (const rule of rules) {
    const meant = http.filter((spec, index) => isFor(rule, spec, index));
    if (meant.length === 0) collector.refuse(resource, path, `names a route that is not there: ${rule.route}`);
    else if (
      rule.policy.when.kind === 'perTryTimeout' &&
      !meant.some(({ retries }) => retries?.perTryTimeout !== undefined)
    ) {
      collector.warn(resource, path, 'ignored', 'there is no time to wait for: no such rule has a perTryTimeout');
    }
  }
}

function isFor({ route }: HedgeRule, { name }: HttpRouteSpec, index: number): boolean {
  return route === undefined || route === `http[${index}]` || route === name;
}

/** The rules, or what is wrong with them. */
function readRules(text: string | undefined): readonly HedgeRule[] | string {
  if (text === undefined) return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'must be JSON: {"percentile": 95}, or a list of such';
  }
  const rules: HedgeRule[] = [];
  for (const each of Array.isArray(value) ? value : [value]) {
    const rule = readRule(each);
    if (typeof rule === 'string') return rule;
    rules.push(rule);
  }
  return rules;
}

function readRule(value: unknown): HedgeRule | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'must be an object, or a list of such';
  }
  const given = value as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) {
    if (!fields.includes(name)) return `has the unknown field ${name}; there are ${fields.join(', ')}`;
  }
  const { route, attempts } = given;
  if (route !== undefined && (typeof route !== 'string' || route === '')) return 'must have a text as route';
  if (modes.filter((name) => given[name] !== undefined).length !== 1)
    return `must have exactly one of ${modes.join(', ')}`;
  if (attempts !== undefined && !isNumber(attempts, 1, maxAttempts, true)) {
    return `must have a whole number from 1 to ${maxAttempts} as attempts`;
  }
  const when = readWhen(given);
  if (typeof when === 'string') return when;
  return {
    ...(route === undefined ? {} : { route }),
    policy: { when, ...(attempts === undefined ? {} : { hedges: attempts as number }) },
  };
}

function readWhen(given: Readonly<Record<string, unknown>>): HedgePolicy['when'] | string {
  const { after, min, percentile, perTryTimeout } = given;
  if (percentile === undefined && min !== undefined) return 'must have min with percentile only';
  if (perTryTimeout !== undefined) {
    return perTryTimeout === true ? { kind: 'perTryTimeout' } : 'must have true as perTryTimeout';
  }
  if (after !== undefined) {
    const ms = durationOf(after);
    return ms === undefined ? 'must have a duration of at least 1ms as after' : { kind: 'after', ms };
  }
  if (!isNumber(percentile, 50, 99.99)) return 'must have a number from 50 to 99.99 as percentile';
  const minMs = min === undefined ? 1 : durationOf(min);
  if (minMs === undefined) return 'must have a duration of at least 1ms as min';
  return { kind: 'percentile', percentile: percentile as number, minMs };
}

function isNumber(value: unknown, least: number, most: number, whole = false): boolean {
  return typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value));
}

function durationOf(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? parseDurationMs(value) : undefined;
  return ms === undefined || ms < 1 ? undefined : ms;
}
