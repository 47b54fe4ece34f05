import t from 'tap';
import { compile, parseYaml } from '../../src/exports/config.ts';
import { fencesOf } from './fences.ts';

type Fields = Readonly<Record<string, unknown>>;
const page = 'docs/kubernetes.md';
const text = fencesOf(page).find(({ file }) => file === 'kubernetes/cart.yaml')?.text ?? '';
const { documents, problems } = parseYaml(text, page);

/** The one resource of a kind, as plain data. */
function resource(kind: string): Fields {
  const found = documents.map(({ value }) => value as Fields).filter((value) => value['kind'] === kind);
  if (found.length !== 1) throw new Error(`${found.length} resources of kind ${kind}`);
  return found[0] as Fields;
}

/** Follows names and indexes into plain data. */
function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((here, step) => (here as Fields | undefined)?.[step], value);
}

const named = (list: unknown, name: string): unknown =>
  (list as readonly Fields[]).find((item) => item['name'] === name);
const pod = at(resource('Deployment'), 'spec', 'template');
const container = at(pod, 'spec', 'containers', 0);
const workload = {
  name: 'cart',
  namespace: 'shop',
  serviceAccount: 'cart',
  labels: {},
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

t.test('the manifest can be read', async (t) => {
  t.same(problems, []);
  t.same(
    documents.map(({ value }) => at(value, 'kind')),
    ['ServiceAccount', 'Service', 'Deployment', 'ConfigMap'],
  );
});

t.test('the pod has no sidecar, and callers with one know that it speaks mTLS', async (t) => {
  t.match(at(pod, 'metadata', 'labels'), {
    'sidecar.istio.io/inject': 'false',
    'security.istio.io/tlsMode': 'istio',
  });
  t.type(at(pod, 'metadata', 'labels', 'sidecar.istio.io/inject'), 'string', 'labels are text, not booleans');
});

t.test('the token is for istiod, and is where the source looks for it', async (t) => {
  t.same(at(named(at(pod, 'spec', 'volumes'), 'istio-token'), 'projected', 'sources', 0, 'serviceAccountToken'), {
    audience: 'istio-ca',
    expirationSeconds: 43_200,
    path: 'istio-token',
  });
  t.match(named(at(container, 'volumeMounts'), 'istio-token'), {
    mountPath: '/var/run/secrets/tokens',
    readOnly: true,
  });
  t.equal(at(pod, 'spec', 'automountServiceAccountToken'), false, 'and there is no other');
});

t.test('the root is that of istiod, and is where the source looks for it', async (t) => {
  t.equal(at(named(at(pod, 'spec', 'volumes'), 'istiod-ca-cert'), 'configMap', 'name'), 'istio-ca-root-cert');
  t.match(named(at(container, 'volumeMounts'), 'istiod-ca-cert'), {
    mountPath: '/var/run/secrets/istio',
    readOnly: true,
  });
});

t.test('the pod has its own identity, and the process knows which', async (t) => {
  t.equal(at(pod, 'spec', 'serviceAccountName'), at(resource('ServiceAccount'), 'metadata', 'name'));
  t.equal(
    at(named(at(container, 'env'), 'SERVICE_ACCOUNT'), 'valueFrom', 'fieldRef', 'fieldPath'),
    'spec.serviceAccountName',
  );
  t.equal(at(named(at(container, 'env'), 'POD_NAMESPACE'), 'valueFrom', 'fieldRef', 'fieldPath'), 'metadata.namespace');
});

t.test('the Service selects the pod and leads to the port of the mesh; probes have another', async (t) => {
  const service = resource('Service');
  const labels = at(pod, 'metadata', 'labels') as Fields;
  for (const [name, value] of Object.entries(at(service, 'spec', 'selector') as Fields)) t.equal(labels[name], value);
  for (const [name, value] of Object.entries(at(resource('Deployment'), 'spec', 'selector', 'matchLabels') as Fields)) {
    t.equal(labels[name], value);
  }
  const port = (name: unknown): unknown => at(named(at(container, 'ports'), String(name)), 'containerPort');
  t.equal(port(at(service, 'spec', 'ports', 0, 'targetPort')), 8_080);
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
    t.equal(port(at(container, probe, 'httpGet', 'port')), 8_081, probe);
  }
});

t.test('every mount has its volume, and the folder of the mesh is where the settings say', async (t) => {
  for (const mount of at(container, 'volumeMounts') as readonly Fields[]) {
    t.ok(named(at(pod, 'spec', 'volumes'), String(mount['name'])), String(mount['name']));
  }
  t.equal(
    at(named(at(container, 'env'), 'INMESH_CONFIG'), 'value'),
    at(named(at(container, 'volumeMounts'), 'mesh'), 'mountPath'),
  );
  t.equal(
    at(named(at(pod, 'spec', 'volumes'), 'mesh'), 'configMap', 'name'),
    at(resource('ConfigMap'), 'metadata', 'name'),
  );
});

t.test('the configuration in the config map compiles, and calls by mTLS', async (t) => {
  const data = at(resource('ConfigMap'), 'data') as Readonly<Record<string, string>>;
  const read = Object.entries(data).flatMap(([name, yaml]) => [...parseYaml(yaml, name).documents]);
  const result = compile(read, { workload });
  t.equal(result.ok, true, JSON.stringify(result.ok ? '' : result.problems));
  if (!result.ok) return;
  const shown = JSON.stringify([...result.snapshot.clusters.values()]);
  t.match(shown, /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/reviews/, 'it is known who must answer');
});
