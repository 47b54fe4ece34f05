import { setImmediate as turn } from 'node:timers/promises';
import type { ConfigProblem, SourceContext } from 'inmesh/config';
import { defaultInboundPolicy, type Snapshot, type Workload } from 'inmesh/model';
import type { Test } from 'tap';
import { type FakeClock, fakeClock } from '../../../../test/support/fake-clock.ts';
import { type Any, pack } from '../../src/proto/any.ts';
import { string } from '../../src/proto/kinds.ts';
import { decode, repeated, type Schema, schema, single } from '../../src/proto/schema.ts';
import { messageNames, ResourceError, type ResourceType, resourceTypes } from '../../src/resources.ts';
import type { XdsSourceOptions } from '../../src/setup/options.ts';
import { type Compiler, createSource, type XdsSource } from '../../src/source.ts';

/** What all types of resources are here: a name, names of others, and what makes it bad. */
interface Plain {
  readonly name: string;
  readonly refs: readonly string[];
  readonly bad: string;
  readonly text: string;
}

const schemas = Object.fromEntries(
  resourceTypes.map((type) => [
    type,
    schema<Plain>(messageNames[type], {
      fields: {
        name: single(1, string),
        refs: repeated(100, string),
        bad: single(101, string),
        text: single(102, string),
      },
    }),
  ]),
) as Record<ResourceType, Schema<Plain>>;

/** A resource that mentions others: listeners routes, routes clusters, clusters endpoints. */
export function resource(type: ResourceType, name: string, parts: Partial<Omit<Plain, 'name'>> = {}): Any {
  return pack(schemas[type], { name, ...parts });
}

const read = (type: ResourceType, any: Any): Plain => {
  if (any.type_url !== `type.googleapis.com/${messageNames[type]}`) {
    throw new ResourceError('', `expected a ${messageNames[type]}`, { value: any.type_url });
  }
  const plain = decode(schemas[type], any.value ?? new Uint8Array());
  if (plain.bad !== '') throw new ResourceError('bad', 'expected nothing', { value: plain.bad });
  return plain;
};

/** What is published, in words: `cluster a: text`. */
export function told(snapshot: Snapshot | undefined): readonly string[] {
  return (snapshot as (Snapshot & { readonly told: readonly string[] }) | undefined)?.told ?? [];
}

/** A compiler that shows which resources went into a snapshot. */
export const plainCompiler: Compiler & { readonly reads: { count: number } } = {
  reads: { count: 0 },
  readers: Object.fromEntries(
    resourceTypes.map((type) => [
      type,
      (any: Any) => {
        plainCompiler.reads.count++;
        return read(type, any);
      },
    ]),
  ) as unknown as Compiler['readers'],
  compile(set, _context, version) {
    const refs = (type: ResourceType): ReadonlySet<string> =>
      new Set([...set[type].values()].flatMap((any) => read(type, any).refs));
    const told = resourceTypes.flatMap((type) =>
      [...set[type]].map(([name, any]) => `${type} ${name}${read(type, any).text && `: ${read(type, any).text}`}`),
    );
    const snapshot = {
      version,
      hosts: new Map(),
      wildcardHosts: [],
      clusters: new Map(),
      outboundPolicy: 'ALLOW_ANY' as const,
      inbound: defaultInboundPolicy,
      told: told.sort(),
    };
    const wanted = { routes: refs('listeners'), clusters: refs('routes'), endpoints: refs('clusters') };
    return { snapshot, report: { entries: [] }, problems: [], wanted };
  },
};

export const workload: Workload = {
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: { app: 'web' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

export interface RunningSource {
  readonly source: XdsSource;
  readonly clock: FakeClock;
  readonly updates: readonly Snapshot[];
  /** What is in force. */
  told(): readonly string[];
  readonly rejected: readonly (readonly ConfigProblem[])[];
  readonly lost: readonly Error[];
  /** Waits until something is so; the clock stands. */
  until(what: string, reached: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

/** Runs a source against control planes of a test, with a clock that stands still. */
export function runSource(
  t: Test,
  options: XdsSourceOptions,
  compiler: Compiler = plainCompiler,
  mesh: SourceContext = { workload, credentials: () => undefined },
): RunningSource {
  const clock = fakeClock();
  const updates: Snapshot[] = [];
  const rejected: (readonly ConfigProblem[])[] = [];
  const lost: Error[] = [];
  const source = createSource(
    { env: {}, node: { addresses: ['10.0.0.1'] }, clock, random: () => 0.5, ...options },
    compiler,
  );
  const stopping = new AbortController();
  const running = source.run(
    {
      update: (snapshot) => void updates.push(snapshot),
      reject: (problems) => void rejected.push(problems),
      lost: (reason) => void lost.push(reason),
    },
    stopping.signal,
    mesh,
  );
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  t.teardown(stop);
  return {
    source,
    clock,
    updates,
    told: () => told(updates.at(-1)),
    rejected,
    lost,
    stop,
    until: (what, reached) => until(what, reached),
  };
}

/** Waits for what input and output bring, a minute at most. */
export async function until(what: string, reached: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!reached()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await turn();
  }
}
