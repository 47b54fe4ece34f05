import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { topology, workloadEntry } from '../../examples/bookinfo/demo/topology.ts';
import { compile } from '../../src/config/compile.ts';
import { describeProblem } from '../../src/config/problem.ts';
import type { EnforcementReport } from '../../src/config/source.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';

const examples = join(import.meta.dirname, '..', '..', 'examples');

interface Compiled {
  readonly snapshot: Snapshot;
  readonly report: EnforcementReport;
}

/** Compiles the YAML of an example for one of its workloads. */
function compileExample(folder: string, namespace: string, app: string, more: readonly string[] = []): Compiled {
  const path = join(examples, folder, 'mesh');
  const texts = [...readdirSync(path).map((file) => readFileSync(join(path, file), 'utf8')), ...more];
  const parsed = texts.map((text) => parseYaml(text));
  const workload = {
    name: `${app}-v1`,
    namespace,
    serviceAccount: app,
    labels: { app, version: 'v1' },
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  };
  const documents = parsed.flatMap((file) => file.documents);
  const problems = parsed.flatMap((file) => file.problems);
  const result = problems.length > 0 ? ({ ok: false, problems } as const) : compile(documents, { workload });
  if (!result.ok) throw new Error(result.problems.map(describeProblem).join('\n'));
  return result;
}

const registered = topology.map((process, i) => workloadEntry(process, 20_000 + i));
const bookinfoFor = (app: string): Compiled => compileExample('bookinfo', 'bookinfo', app, registered);

t.test('everything that the YAML of the examples says is enforced', async (t) => {
  for (const { report } of [
    ...topology.map(({ app }) => bookinfoFor(app)),
    compileExample('express-hello', 'default', 'web'),
  ]) {
    t.same(
      report.entries.filter(({ status }) => status !== 'enforced'),
      [],
    );
  }
});

t.test('Bookinfo: jason goes to v2, everybody else to v1 and v3', async (t) => {
  const { snapshot } = bookinfoFor('productpage');
  const routes = snapshot.hosts.get('reviews:9080')?.routes ?? [];
  t.same(
    routes.map(({ name, destinations }) => [name, destinations.map(({ cluster }) => cluster.split('|')[2])]),
    [
      ['testers', ['v2']],
      ['canary', ['v1', 'v3']],
    ],
  );
  t.same(
    routes[1]?.destinations.map(({ weight }) => weight),
    [90, 10],
  );
});

t.test('Bookinfo: every subset has the one endpoint of its version, reached by mutual TLS', async (t) => {
  const { snapshot } = bookinfoFor('productpage');
  for (const version of ['v1', 'v2', 'v3']) {
    const cluster = snapshot.clusters.get(`outbound|9080|${version}|reviews.bookinfo.svc.cluster.local`);
    t.equal(cluster?.tls, 'mutual');
    const endpoints = cluster?.discovery.kind === 'static' ? cluster.discovery.endpoints : [];
    t.same(
      endpoints.map(({ workload, speaksMtls }) => ({ workload, speaksMtls })),
      [{ workload: `reviews-${version}`, speaksMtls: true }],
    );
  }
});

t.test(
  'Bookinfo: all services are STRICT and closed but for whom a policy names; the page is PERMISSIVE',
  async (t) => {
    for (const { app } of topology) {
      const { inbound } = bookinfoFor(app).snapshot;
      t.equal(inbound.mtls.mode, app === 'productpage' ? 'PERMISSIVE' : 'STRICT', app);
      t.same(
        inbound.authorization.map(({ action, provenance }) => `${action} ${provenance.name}`).sort(),
        [`ALLOW ${app}`, 'ALLOW deny-by-default'].sort(),
      );
    }
  },
);

t.test('express-hello: the name leads to the endpoint, with retries and a timeout', async (t) => {
  const { snapshot } = compileExample('express-hello', 'default', 'web');
  const route = snapshot.hosts.get('hello:80')?.routes[0];
  t.equal(route?.timeoutMs, 2_000);
  t.equal(route?.retry?.attempts, 3);
  const cluster = snapshot.clusters.get(route?.destinations[0]?.cluster ?? '');
  t.equal(cluster?.discovery.kind === 'static' && cluster.discovery.endpoints[0]?.port, 4_001);
});
