import { type CompileOptions, type CompileResult, compile } from '../../src/config/compile.ts';
import { describeProblem } from '../../src/config/problem.ts';
import type { EnforcementEntry, EnforcementReport } from '../../src/config/source.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import type { Cluster, Endpoint } from '../../src/model/cluster.ts';
import type { Route } from '../../src/model/route.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import type { Workload } from '../../src/model/workload.ts';

/** The process for which the tests compile: the web frontend of namespace `shop`. */
export const web: Workload = {
  name: 'web-v1',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: { app: 'web', version: 'v1' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

export interface TestCompileOptions extends Omit<CompileOptions, 'workload'> {
  readonly workload?: Partial<Workload>;
}

/** Compiles YAML texts, each as a file of its own: `0.yaml`, `1.yaml` … */
export function compileYaml(texts: string | readonly string[], options: TestCompileOptions = {}): CompileResult {
  const list = typeof texts === 'string' ? [texts] : texts;
  const parsed = list.map((text, index) => parseYaml(text, `${index}.yaml`));
  const problems = parsed.flatMap((file) => file.problems);
  if (problems.length > 0) return { ok: false, problems };
  const workload = { ...web, ...options.workload };
  return compile(
    parsed.flatMap((file) => file.documents),
    { ...options, workload },
  );
}

export interface Good {
  readonly snapshot: Snapshot;
  readonly report: EnforcementReport;
  /** Routes of a name with port, as calls see them. */
  routes(name: string): readonly Route[];
  /** `host|port|subset` is enough of a name. */
  cluster(name: string): Cluster | undefined;
  endpoints(name: string): readonly Endpoint[];
  /** Entries that are not plainly enforced: `VirtualService spec.http[0].fault ignored`. */
  remarks(): readonly string[];
}

/** The snapshot of YAML that must be good. */
export function good(texts: string | readonly string[], options: TestCompileOptions = {}): Good {
  const result = compileYaml(texts, options);
  if (!result.ok) throw new Error(`refused:\n${result.problems.map(describeProblem).join('\n')}`);
  const { snapshot, report } = result;
  const cluster = (name: string): Cluster | undefined => {
    const [host = '', port = '', subset = ''] = name.split('|');
    const long = host.includes('.') ? host : `${host}.shop.svc.cluster.local`;
    return snapshot.clusters.get(`outbound|${port}|${subset}|${long}`);
  };
  return {
    snapshot,
    report,
    routes: (name) => snapshot.hosts.get(name)?.routes ?? [],
    cluster,
    endpoints: (name) => {
      const discovery = cluster(name)?.discovery;
      return discovery === undefined || discovery.kind === 'original' ? [] : discovery.endpoints;
    },
    remarks: () => report.entries.filter((entry) => entry.status !== 'enforced' || entry.warning).map(describeEntry),
  };
}

/** Problems of YAML that must be refused, as people read them. */
export function problems(texts: string | readonly string[], options: TestCompileOptions = {}): readonly string[] {
  const result = compileYaml(texts, options);
  return result.ok ? [] : result.problems.map(describeProblem);
}

function describeEntry({ at, field, status, note, warning }: EnforcementEntry): string {
  const words = [at.kind, field, status, ...(warning ? ['(warning)'] : [])].filter((word) => word !== '').join(' ');
  return note === undefined ? words : `${words}: ${note}`;
}

/** A ServiceEntry in namespace `shop` with one HTTP port 80 and endpoints v1 and v2. */
export function serviceYaml(name = 'reviews', port = 80): string {
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: ${port}, name: http, protocol: HTTP}]
  endpoints:
  - {address: 10.0.0.1, labels: {app: ${name}, version: v1}, serviceAccount: ${name}}
  - {address: 10.0.0.2, labels: {app: ${name}, version: v2}, serviceAccount: ${name}}
---
`;
}

/** One resource of namespace `shop` as YAML. `spec` is YAML of any shape, already indented or in flow style. */
export function resourceYaml(kind: string, name: string, spec: string, namespace = 'shop'): string {
  const group = ['PeerAuthentication', 'AuthorizationPolicy'].includes(kind) ? 'security' : 'networking';
  const body = spec.trim().startsWith('{') ? ` ${spec.trim()}` : `\n${spec}`;
  return `
apiVersion: ${group}.istio.io/v1
kind: ${kind}
metadata: {name: ${name}, namespace: ${namespace}}
spec:${body}
---
`;
}
