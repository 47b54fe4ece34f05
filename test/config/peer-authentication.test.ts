import t from 'tap';
import { good, problems, resourceYaml, type TestCompileOptions } from './support.ts';

const peer = (spec: string, name = 'p', namespace = 'shop'): string =>
  resourceYaml('PeerAuthentication', name, spec, namespace);
const mtls = (yaml: string, options?: TestCompileOptions) => good(yaml, options).snapshot.inbound.mtls;
const mode = (value: string): string => `{mtls: {mode: ${value}}}`;
const forWeb = (more: string): string => `{selector: {matchLabels: {app: web}}, ${more}}`;

t.test('without a policy mTLS is accepted and not demanded', async (t) => {
  t.same(mtls(''), { mode: 'PERMISSIVE', ports: new Map() });
});

t.test('the most specific level that is set counts; UNSET and absent inherit', async (t) => {
  const root = 'istio-system';
  const cases: readonly (readonly [yaml: string, expected: string])[] = [
    [peer(mode('STRICT')), 'STRICT'],
    [peer(mode('PERMISSIVE')), 'PERMISSIVE'],
    [peer(mode('DISABLE')), 'DISABLE'],
    [peer(mode('UNSET')), 'PERMISSIVE'],
    [peer('{}'), 'PERMISSIVE'],
    [peer('{mtls: {}}'), 'PERMISSIVE'],
    [peer(mode('STRICT'), 'p', root), 'STRICT'],
    [peer(mode('STRICT'), 'p', 'other'), 'PERMISSIVE'],
    [peer(mode('STRICT'), 'm', root) + peer(mode('DISABLE')), 'DISABLE'],
    [peer(mode('STRICT'), 'm', root) + peer(mode('UNSET')), 'STRICT'],
    [peer(mode('STRICT'), 'm', root) + peer(forWeb('mtls: {mode: DISABLE}')), 'DISABLE'],
    [peer(mode('STRICT')) + peer(forWeb('mtls: {mode: UNSET}'), 'w'), 'STRICT'],
    [peer(mode('STRICT')) + peer(forWeb('mtls: {mode: PERMISSIVE}'), 'w'), 'PERMISSIVE'],
    [peer(mode('STRICT')) + peer('{selector: {matchLabels: {app: api}}, mtls: {mode: DISABLE}}', 'w'), 'STRICT'],
    [peer(`{selector: {}, mtls: {mode: STRICT}}`), 'STRICT'],
  ];
  for (const [yaml, expected] of cases) t.equal(mtls(yaml).mode, expected, yaml);
});

t.test('ports: their own mode, or that of the workload', async (t) => {
  const ports = '{9090: {mode: DISABLE}, "9091": {mode: UNSET}, 9092: {}}';
  const policy = mtls(peer(mode('STRICT')) + peer(forWeb(`portLevelMtls: ${ports}`), 'w'));
  t.equal(policy.mode, 'STRICT');
  t.same(
    [...policy.ports],
    [
      [9_090, 'DISABLE'],
      [9_091, 'STRICT'],
      [9_092, 'STRICT'],
    ],
  );
});

t.test('of several at one level the oldest counts, and the report names it', async (t) => {
  const dated = (name: string, created: string, value: string): string =>
    peer(mode(value), name).replace(`{name: ${name},`, `{name: ${name}, creationTimestamp: "${created}",`);
  const { snapshot, remarks } = good(
    dated('b', '2026-02-01T00:00:00Z', 'DISABLE') + dated('a', '2026-01-01T00:00:00Z', 'STRICT'),
  );
  t.match(snapshot.inbound.mtls, { mode: 'STRICT', provenance: { name: 'a' } });
  t.same(remarks(), [
    'PeerAuthentication spec ignored (warning): PeerAuthentication shop/a is older and counts instead',
  ]);
  t.equal(
    mtls(peer(mode('STRICT'), 'first') + peer(mode('DISABLE'), 'second')).mode,
    'STRICT',
    'without dates the first',
  );
  t.equal(
    mtls(dated('z', '2026-01-01T00:00:00Z', 'DISABLE') + dated('a', '2026-01-01T00:00:00Z', 'STRICT')).mode,
    'STRICT',
    'same age: by name',
  );
});

t.test('the policy says where it comes from', async (t) => {
  t.same(mtls(peer(mode('STRICT'), 'strict')).provenance, {
    kind: 'PeerAuthentication',
    namespace: 'shop',
    name: 'strict',
    file: '0.yaml',
    line: 3,
    column: 1,
  });
});

t.test('what Istio would silently not do is refused', async (t) => {
  const refusal = (spec: string, namespace?: string): string => problems(peer(spec, 'p', namespace)).join('\n');
  t.match(refusal(forWeb('mtls: {mode: STRICT}'), 'istio-system'), /spec\.selector: is refused: Istio ignores it/);
  t.match(refusal('{portLevelMtls: {80: {mode: STRICT}}}'), /spec\.portLevelMtls: needs a selector with labels/);
  t.match(
    refusal(forWeb('portLevelMtls: {70000: {mode: STRICT}}')),
    /spec\.portLevelMtls\["70000"\]: must be a port from 1 to 65535/,
  );
  t.match(refusal('{mtls: STRICT}'), /spec\.mtls: must be a map of fields, got "STRICT"/);
});

t.test('a mistake in a policy for another workload is a mistake too', async (t) => {
  t.match(problems(peer(mode('STRIKT'), 'p', 'other')), [/spec\.mtls\.mode: must be one of/]);
});
