import type {
  GlobalRateLimit,
  LocalRateLimit,
  RateLimitEntry,
  RateLimitHeaders,
  RateLimitKey,
} from '../model/rate-limit.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { compileRules, type RuleSpec } from './istio-authorization-policy.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { Resource } from './resource.ts';
import { validateRules } from './validate-authorization-policy.ts';
import { durationMs, selects } from './values.ts';

interface KeySpec {
  readonly principal?: boolean;
  readonly remoteAddress?: boolean;
  readonly method?: boolean;
  readonly path?: boolean;
  readonly host?: boolean;
  readonly header?: string;
  readonly claim?: string;
}

interface EntrySpec extends KeySpec {
  readonly key: string;
  readonly value?: string;
  readonly otherwise?: string;
}

interface LocalSpec {
  readonly name?: string;
  readonly rules?: readonly RuleSpec[];
  readonly by?: readonly KeySpec[];
  readonly tokenBucket: { readonly maxTokens: number; readonly tokensPerFill?: number; readonly fillInterval: string };
  readonly maxKeys?: number;
  readonly shadow?: boolean;
  readonly headers?: RateLimitHeaders;
}

interface GlobalSpec {
  readonly service: string;
  readonly domain: string;
  readonly timeout?: string;
  readonly failureMode?: 'ALLOW' | 'DENY';
  readonly shadow?: boolean;
  readonly headers?: RateLimitHeaders;
  readonly descriptors: readonly { readonly rules?: readonly RuleSpec[]; readonly entries: readonly EntrySpec[] }[];
}

export interface RateLimitBody {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly local?: readonly LocalSpec[];
    readonly global?: GlobalSpec;
  };
}

/** The limits for one workload. */
export interface CompiledRateLimits {
  readonly local: readonly LocalRateLimit[];
  readonly global: readonly GlobalRateLimit[];
}

/** Buckets of a limit with a key, unless it says otherwise. */
const defaultMaxKeys = 10_000;

/** Envoy's. */
const defaultTimeoutMs = 20;

/** Compiles the limits of a resource, also of one for other workloads: a mistake in it is a mistake of the folder. */
export function compileRateLimit(
  resource: Resource<RateLimitBody>,
  workload: Workload,
  mesh: MeshSettings,
  collector: Collector,
): CompiledRateLimits {
  const { spec = {} } = resource.body;
  if ((spec.local ?? []).length === 0 && spec.global === undefined) {
    collector.problem(resource, ['spec'], 'must have local or global: without either it limits nothing');
  }
  const context: Context = { resource, workload, mesh, collector };
  const local = (spec.local ?? []).map((each, index) => compileLocal(each, index, context));
  const names = new Set<string>();
  for (const [index, { name }] of local.entries()) {
    if (names.has(name))
      collector.problem(resource, ['spec', 'local', index, 'name'], 'is there twice', spec.local?.[index]?.name);
    names.add(name);
  }
  const global = spec.global === undefined ? [] : [compileGlobal(spec.global, context)];
  const isNear = resource.namespace === mesh.rootNamespace || resource.namespace === workload.namespace;
  const isFor = isNear && selects(spec.selector?.matchLabels ?? {}, workload.labels);
  return isFor ? { local, global } : { local: [], global: [] };
}

interface Context {
  readonly resource: Resource<RateLimitBody>;
  readonly workload: Workload;
  readonly mesh: MeshSettings;
  readonly collector: Collector;
}

function compileLocal(spec: LocalSpec, index: number, context: Context): LocalRateLimit {
  const { collector, resource } = context;
  const path = ['spec', 'local', index];
  const { fillInterval, maxTokens, tokensPerFill = maxTokens } = spec.tokenBucket;
  return {
    name: `${resource.namespace}/${resource.name} ${spec.name ?? `local[${index}]`}`,
    rules: compileConditions(spec.rules ?? [], [...path, 'rules'], context),
    by: (spec.by ?? []).flatMap((each, at) => compileKey(each, [...path, 'by', at], context) ?? []),
    bucket: { maxTokens, tokensPerFill, fillIntervalMs: durationMs(fillInterval) },
    maxKeys: spec.maxKeys ?? defaultMaxKeys,
    shadow: spec.shadow ?? false,
    headers: spec.headers ?? 'LIMITED',
    provenance: collector.at(resource, path),
  };
}

function compileGlobal(spec: GlobalSpec, context: Context): GlobalRateLimit {
  const { collector, resource } = context;
  const path = ['spec', 'global'];
  return {
    name: `${resource.namespace}/${resource.name} global`,
    service: spec.service,
    domain: spec.domain,
    timeoutMs: durationMs(spec.timeout) ?? defaultTimeoutMs,
    failOpen: spec.failureMode !== 'DENY',
    shadow: spec.shadow ?? false,
    headers: spec.headers ?? 'LIMITED',
    descriptors: spec.descriptors.map(({ entries, rules = [] }, index) => {
      const at = [...path, 'descriptors', index];
      return {
        rules: compileConditions(rules, [...at, 'rules'], context),
        entries: entries.flatMap((entry, place) => compileEntry(entry, [...at, 'entries', place], context) ?? []),
      };
    }),
    provenance: collector.at(resource, path),
  };
}

/** As in a DENY policy: what might be such a request counts as one. */
function compileConditions(rules: readonly RuleSpec[], path: Path, { collector, mesh, resource, workload }: Context) {
  validateRules(rules as Parameters<typeof validateRules>[0], 'DENY', resource, path, collector);
  return compileRules(rules, { resource, workload, mesh, action: 'DENY', collector }, path);
}

function compileEntry(entry: EntrySpec, path: Path, context: Context): RateLimitEntry | undefined {
  const { key, otherwise, value, ...from } = entry;
  const { collector, resource } = context;
  if (value === undefined) {
    const part = compileKey(from, path, context);
    return part && { key, value: part, ...(otherwise === undefined ? {} : { otherwise }) };
  }
  if (Object.keys(from).length > 0 || otherwise !== undefined) {
    collector.problem(resource, path, 'must have nothing beside key and value: a text is never missing');
  }
  return { key, value };
}

const flags = ['principal', 'remoteAddress', 'method', 'path', 'host'] as const;

function compileKey(spec: KeySpec, path: Path, { collector, resource }: Context): RateLimitKey | undefined {
  const parts: RateLimitKey[] = [];
  for (const kind of flags) {
    if (spec[kind] === false) collector.problem(resource, [...path, kind], 'must be true, or absent', false);
    if (spec[kind] !== undefined) parts.push({ kind });
  }
  if (spec.header !== undefined) parts.push({ kind: 'header', name: spec.header.toLowerCase() });
  if (spec.claim !== undefined) parts.push({ kind: 'claim', name: spec.claim });
  const [part] = parts;
  if (part === undefined || parts.length > 1) {
    collector.problem(resource, path, `must have exactly one of ${[...flags, 'header', 'claim'].join(', ')}`);
  }
  return part;
}
