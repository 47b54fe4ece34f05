// One measurement in a process of its own: `child.ts load|edit|lookup|authorize|envoy|xds <folder> [edits, hosts or rules]`.
// Answers with one line of JSON.
import { readFileSync, writeFileSync } from 'node:fs';
import { type Authorizer, compileAuthorizer } from '../../../src/authz/authorizer.ts';
import { compile } from '../../../src/config/compile.ts';
import { listConfigFiles, readConfigPath } from '../../../src/config/config-files.ts';
import { documentOf } from '../../../src/config/document.ts';
import { fileSource } from '../../../src/config/file-source.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createMesh } from '../../../src/mesh.ts';
import type { Mesh } from '../../../src/mesh-api.ts';
import { createHostTable } from '../../../src/route/host-table.ts';
import { manyRules } from '../authorization-rules.ts';
import { heldMegabytes, peakMegabytes } from './memory.ts';
import { asEnvoy, measureXds, type XdsResult } from './xds.ts';

const workload = {
  name: 'bench',
  namespace: 'shop',
  serviceAccount: 'bench',
  labels: {},
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** A clock whose waits end when they are told to. */
function createStoppedClock(): Clock & { go(): void; stop(): void } {
  let stopped = true;
  const waiting = new Set<() => void>();
  return {
    ...systemClock,
    after(_delayMs, action) {
      if (!stopped) {
        const soon = setImmediate(action);
        return () => clearImmediate(soon);
      }
      waiting.add(action);
      return () => void waiting.delete(action);
    },
    go() {
      stopped = false;
      for (const action of [...waiting]) action();
      waiting.clear();
    },
    stop() {
      stopped = true;
    },
  };
}

export interface Timing {
  readonly wallMs: number;
  readonly cpuMs: number;
}

export interface LoadResult extends Timing {
  /** Of the whole process, Node included. */
  readonly peakMegabytes: number;
  readonly heldMegabytes: number;
}

export interface EditResult {
  /** A value in one rule. */
  readonly values: readonly Timing[];
  /** A rule more, which moves the rest of the file. */
  readonly rules: readonly Timing[];
}

export interface LookupResult {
  readonly nanoseconds: number;
}

export interface DecisionResult {
  /** From documents to a snapshot, and from that to something that decides. */
  readonly compileMs: number;
  /** For one decision. */
  readonly nanoseconds: number;
}

interface Loaded {
  readonly mesh: Mesh;
  readonly clock: ReturnType<typeof createStoppedClock>;
  readonly wallMs: number;
  readonly cpuMs: number;
}

async function load(folder: string): Promise<Loaded> {
  const clock = createStoppedClock();
  const before = process.cpuUsage();
  const started = performance.now();
  const mesh = createMesh({ workload, config: fileSource(folder, { workload, clock }), identity: false });
  await mesh.ready();
  const wallMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { mesh, clock, wallMs, cpuMs: (user + system) / 1_000 };
}

/** From a file that has changed to the snapshot in force. The waits of the watch are taken out. */
async function edit({ mesh, clock }: Loaded, path: string, change: (text: string) => string): Promise<Timing> {
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, change(text));
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = mesh.on('config', () => resolve());
  const before = process.cpuUsage();
  const started = performance.now();
  clock.go();
  await promise;
  const wallMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  clock.stop();
  end();
  return { wallMs, cpuMs: (user + system) / 1_000 };
}

/** Nanoseconds to find the route of a request, hosts and paths in turn. */
async function lookUp(folder: string, hosts: number): Promise<LookupResult> {
  const documents = (await readConfigPath(folder)).documents;
  const compiled = compile(documents, { workload });
  if (!compiled.ok) throw new Error('the mesh that was made up is refused');
  const table = createHostTable(compiled.snapshot);
  const all = [...compiled.snapshot.hosts.values()];
  const step = Math.max(1, Math.floor(all.length / hosts));
  const requests = Array.from({ length: hosts }, (_, i) => {
    const name = all[(i * step) % all.length]?.name ?? '';
    const path = [`/api/v0/x`, '/catalogue/1/books', '/login/2', '/elsewhere'][i % 4] as string;
    return { origin: `http://${name}`, path };
  });
  const find = ({ origin, path }: { readonly origin: string; readonly path: string }): number => {
    const target = table.find(origin);
    if (target.kind !== 'host') return 0;
    const { hostHeader, matcher } = target;
    const request = { method: 'GET', path, headers: [], secure: false, hostHeader, scope: undefined };
    return matcher.find(request) === undefined ? 0 : 1;
  };
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 7; round++) {
    let found = 0;
    let asked = 0;
    const started = performance.now();
    while (asked < 2_000_000) {
      for (const request of requests) found += find(request);
      asked += requests.length;
    }
    const nanoseconds = ((performance.now() - started) * 1e6) / asked;
    if (found !== asked) throw new Error(`${asked - found} of ${asked} requests found no route`);
    best = Math.min(best, nanoseconds);
  }
  return { nanoseconds: best };
}

/** Requests that an ALLOW rule lets in, that none does, of a caller with rules, and with a path of many views. */
function requests(): readonly Facts[] {
  const about = (path: string, more: Partial<Facts> = {}): Facts =>
    ({ ...facts, path, rawPath: path, ...more }) as Facts;
  const spiffeId = 'spiffe://cluster.local/ns/ns-8/sa/caller-8';
  const peer = { spiffeId, trustDomain: 'cluster.local', namespace: 'ns-8', serviceAccount: 'caller-8' };
  return [about('/hello'), about('/elsewhere/1'), about('/team-8/x', { peer }), about('/Own/2/;x=1')];
}

type Facts = Parameters<Authorizer['decide']>[0];
const facts = { peer: undefined, method: 'GET', host: 'bench', localPort: 8080 };

/** @param envoy the rules come as istiod would send them */
function authorize(rules: number, envoy: boolean): DecisionResult {
  const started = performance.now();
  const compiled = compile(manyRules(rules).map(documentOf), { workload: { ...workload, namespace: 'bench' } });
  if (!compiled.ok) throw new Error('the policies that were made up are refused');
  const policies = compiled.snapshot.inbound.authorization;
  const { decide } = envoy ? asEnvoy(policies) : compileAuthorizer(policies);
  const compileMs = performance.now() - started;
  const all = requests();
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 7; round++) {
    const begun = performance.now();
    let allowed = 0;
    for (let i = 0; i < 250_000; i++) for (const each of all) if (decide(each).allowed) allowed++;
    if (allowed < 250_000) throw new Error('what must be allowed was not');
    best = Math.min(best, (performance.now() - begun) / all.length / 0.25);
  }
  return { compileMs, nanoseconds: best };
}

const [, , what, folder = '', count = '20'] = process.argv;

async function main(): Promise<LoadResult | EditResult | LookupResult | DecisionResult | XdsResult> {
  if (what === 'authorize' || what === 'envoy') return authorize(Number(count), what === 'envoy');
  if (what === 'xds') return measureXds();
  if (what === 'lookup') return lookUp(folder, Number(count));
  const loaded = await load(folder);
  const { cpuMs, wallMs } = loaded;
  if (what === 'load') return { cpuMs, wallMs, peakMegabytes: peakMegabytes(), heldMegabytes: heldMegabytes() };
  const files = (await listConfigFiles(folder)).map(({ path }) => path);
  const values: Timing[] = [];
  const rules: Timing[] = [];
  for (let i = 0; i < Number(count); i++) {
    const path = files[(i * 37) % files.length] as string;
    values.push(await edit(loaded, path, (text) => text.replace(/timeout: \d+s/, `timeout: ${100 + i}s`)));
    rules.push(await edit(loaded, path, (text) => text.replace('  http:\n', `  http:\n${newRule(i)}`)));
  }
  return { values, rules };
}

function newRule(index: number): string {
  return `  - match: [{uri: {exact: /edit/${index}}}]\n    directResponse: {status: 503}\n`;
}

process.stdout.write(`${JSON.stringify(await main())}\n`);
process.exit(0);
