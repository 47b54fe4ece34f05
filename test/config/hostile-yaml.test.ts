import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { loadConfigFile, readConfigPath } from '../../src/config/config-files.ts';
import { describeProblem } from '../../src/config/problem.ts';
import { readFixture } from '../e2e/attacks/catalogue.ts';
import { root } from '../support/source-files.ts';
import { compileYaml, good, problems, resourceYaml, serviceYaml, web } from './support.ts';

/** The documents of the catalogue's layer CFG: text of somebody who means harm, or made the mistake that hurts most. */
interface Hostile {
  readonly id: string;
  readonly what: string;
  readonly yaml: string;
  /** Place, resource, field and value, as far as the text shows them: what the first problem must say. */
  readonly says: RegExp;
}

const to = 'route: [{destination: {host: reviews}}]';
const route = (http: string): string =>
  serviceYaml() + resourceYaml('VirtualService', 'v', `{hosts: [reviews], http: [${http}]}`);
const place = String.raw`^0\.yaml:\d+:\d+: `;
const policy = `${place}AuthorizationPolicy shop/a: `;
const virtualService = `${place}VirtualService shop/v: `;
const kinds = (apiVersion: string, kind: string): string =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: a, namespace: shop}\nspec: {action: DENY}\n`;
const says = (start: string, rest: string): RegExp => new RegExp(`${start}${rest}`);

const laughs = [
  'kind: VirtualService\nmetadata: {name: v, namespace: shop}',
  'a: &a [x,x,x,x,x,x,x,x,x]',
  ...[...'bcdefghi'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`),
].join('\n');

const cases: readonly Hostile[] = [
  { id: 'CFG-001', what: 'a billion laughs', yaml: laughs, says: says(virtualService, String.raw`[a-i]\S*: aliases`) },
  { id: 'CFG-002', what: '100,000 lists in one', yaml: '['.repeat(100_000), says: says(place, 'is nested deeper') },
  {
    id: 'CFG-006',
    what: 'constructor.prototype for a resource',
    yaml: 'constructor: {prototype: {x: 1}}\n',
    says: says(place, 'apiVersion: must be there'),
  },
  ...['constructor: {prototype: {x: 1}}', '__proto__: {action: DENY}', 'toString: x', 'hasOwnProperty: 1'].map(
    (field): Hostile => ({
      id: 'CFG-006',
      what: `${field} for a field`,
      yaml: resourceYaml('AuthorizationPolicy', 'a', `{${field}, rules: [{}]}`),
      says: says(policy, String.raw`spec\.${field.split(':')[0]}: is not a field that is known here, got `),
    }),
  ),
  {
    id: 'CFG-007',
    what: 'action: DENY and action: ALLOW',
    yaml: kinds('security.istio.io/v1', 'AuthorizationPolicy').replace('DENY', 'DENY, action: ALLOW'),
    says: says(policy, String.raw`spec\.action: is there twice`),
  },
  {
    id: 'CFG-009',
    what: '!!js/function',
    yaml: kinds('security.istio.io/v1', 'AuthorizationPolicy').replace('DENY', '!!js/function "function(){}"'),
    says: says(policy, String.raw`spec\.action: has a tag that is not known: .*js/function`),
  },
  {
    id: 'CFG-010',
    what: 'mode: NO',
    yaml: resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: NO}}'),
    says: /PeerAuthentication shop\/p: spec\.mtls\.mode: must be one of .*, got "NO"$/,
  },
  {
    id: 'CFG-010',
    what: 'a boolean of YAML 1.1',
    yaml: resourceYaml(
      'DestinationRule',
      'd',
      '{host: a, trafficPolicy: {outlierDetection: {splitExternalLocalOriginErrors: yes}}}',
    ),
    says: /splitExternalLocalOriginErrors: must be true or false, got "yes"$/,
  },
  ...['0o14', '012', '0x50', '1_000'].map(
    (number): Hostile => ({
      id: 'CFG-010',
      what: `port ${number}`,
      yaml: resourceYaml(
        'ServiceEntry',
        's',
        `{hosts: [a.b], resolution: DNS, ports: [{number: ${number}, name: http}]}`,
      ),
      says: says(`${place}ServiceEntry shop/s: `, String.raw`spec\.ports\[0\]\.number: must be .*, got "?${number}"?$`),
    }),
  ),
  ...(
    [
      ['CFG-011', 'timeout: 1e400s', 'timeout: must be a duration .*, got "1e400s"'],
      ['CFG-011', 'retries: {attempts: 12345678901234567890}', 'attempts: must be an integer from 0 .*, got 123456789'],
      ['CFG-011', 'retries: {attempts: 1e400}', 'attempts: must be an integer from 0 .*, got Infinity'],
      ['CFG-012', 'timeout: -1s', 'timeout: must be a duration .*, got "-1s"'],
      ['CFG-012', 'timeout: NaNs', 'timeout: must be a duration .*, got "NaNs"'],
      ['CFG-012', 'timeout: .nan', 'timeout: must be a number in plain decimal notation, got .nan'],
      ['CFG-012', 'retries: {attempts: 1, perTryTimeout: -1s}', 'perTryTimeout: must be a duration .*, got "-1s"'],
      [
        'CFG-013',
        'fault: {abort: {httpStatus: 500, percentage: {value: 101}}}',
        'value: must be a number from 0 to 100, got 101',
      ],
      [
        'CFG-013',
        'fault: {abort: {httpStatus: 500, percentage: {value: -1}}}',
        'value: must be a number from 0 to 100, got -1',
      ],
      [
        'CFG-013',
        'mirrorPercentage: {value: 1e9}, mirror: {host: reviews}',
        'value: must be a number from 0 to 100, got 1000000000',
      ],
    ] as const
  ).map(
    ([id, field, message]): Hostile => ({
      id,
      what: field,
      yaml: route(`{${to}, ${field}}`),
      says: says(virtualService, String.raw`spec\.http\[0\]\.\S*${message}`),
    }),
  ),
  {
    id: 'CFG-012',
    what: 'interval: 0s',
    yaml: resourceYaml('DestinationRule', 'd', '{host: a, trafficPolicy: {outlierDetection: {interval: 0s}}}'),
    says: /outlierDetection\.interval: must be a duration .*, got "0s"$/,
  },
  {
    id: 'CFG-013',
    what: 'weight: -1',
    yaml: route('{route: [{destination: {host: reviews}, weight: -1}]}'),
    says: says(virtualService, String.raw`spec\.http\[0\]\.route\[0\]\.weight: must be an integer from 0 .*, got -1`),
  },
  {
    id: 'CFG-013',
    what: 'weights whose sum is 0',
    yaml: route('{route: [{destination: {host: reviews}, weight: 0}, {destination: {host: reviews}, weight: 0}]}'),
    says: says(virtualService, String.raw`spec\.http\[0\]\.route: needs weights whose sum is more than 0`),
  },
  {
    id: 'CFG-014',
    what: 'a good document and a bad one',
    yaml: `${serviceYaml()}${resourceYaml('AuthorizationPolicy', 'a', '{action: DENI}')}`,
    says: says(
      policy,
      String.raw`spec\.action: must be one of ALLOW, DENY, AUDIT, CUSTOM .did you mean DENY.., got "DENI"`,
    ),
  },
  {
    id: 'CFG-014',
    what: 'a good document and one that is no YAML',
    yaml: `${serviceYaml()}${kinds('security.istio.io/v1', 'AuthorizationPolicy')}rules: [`,
    says: says(policy, 'rules: '),
  },
  {
    id: 'CFG-015',
    what: 'NUL',
    yaml: 'a: b\u0000c\n',
    says: says(place, String.raw`a: contains the control character U\+0000`),
  },
  ...['a: b # c\u0000d\n', 'a: b\n# \u0000\n', 'a: b\n# \u009b\nc: d\n', 'a: b\n#\ufffe'].map(
    (yaml): Hostile => ({
      id: 'CFG-015',
      what: `${JSON.stringify(yaml)}, in a comment`,
      yaml,
      says: /contains the control character U\+/,
    }),
  ),
  ...(
    [
      [
        'security.istio.io/v1',
        'AuthorizationPolicyy',
        'kind: is not a kind that is known in .*did you mean AuthorizationPolicy',
      ],
      ['security.istio.io/v1', 'authorizationpolicy', 'kind: is not a kind that is known in '],
      ['security.istio.io/v7', 'AuthorizationPolicy', 'apiVersion: must be one of security.istio.io/v1, '],
      ['securityy.istio.io/v1', 'AuthorizationPolicy', 'kind: is not a kind that is known in '],
      ['rbac.istio.io/v1alpha1', 'AuthorizationPolicy', 'kind: is not a kind that is known in '],
      ['v1', 'AuthorizationPolicy', 'kind: is not a kind that is known in v1'],
      ['apps/v1', 'PeerAuthentication', 'apiVersion: must be security.istio.io/v1 for PeerAuthentication'],
      ['inmesh.dev/v1', 'RateLimitt', 'kind: is not a kind that is known in '],
    ] as const
  ).map(
    ([apiVersion, kind, message]): Hostile => ({
      id: 'CFG-016',
      what: `${apiVersion} ${kind}`,
      yaml: kinds(apiVersion, kind),
      says: says(`${place}${kind} shop/a: `, `.*${message}`),
    }),
  ),
  {
    id: 'CFG-022',
    what: 'a namespace that claims every host',
    yaml: serviceYaml() + resourceYaml('VirtualService', 'v', `{hosts: ["*"], http: [{${to}}]}`, 'b'),
    says: says(`${place}VirtualService b/v: `, String.raw`spec\.hosts\[0\]: must not be \* in the mesh: .*, got "\*"`),
  },
  {
    id: 'CFG-023',
    what: 'delegates in a circle',
    yaml:
      serviceYaml() +
      resourceYaml('VirtualService', 'v', '{hosts: [reviews], http: [{delegate: {name: b}}]}') +
      resourceYaml('VirtualService', 'b', '{http: [{delegate: {name: c}}]}') +
      resourceYaml('VirtualService', 'c', '{http: [{delegate: {name: b}}]}'),
    says: says(place, String.raw`VirtualService shop/[bc]: spec\.http\[0\]\.delegate: `),
  },
];

for (const { id, what, yaml, says: expected } of cases) {
  t.test(`${id} ${what}: the whole configuration is refused, by name`, async (t) => {
    const [first = 'accepted', ...others] = problems(yaml);
    t.match(first, expected);
    for (const each of [first, ...others]) t.match(each, /^0\.yaml:\d+:\d+: /);
    t.notOk(compileYaml([serviceYaml('details'), yaml]).ok, 'and with it what the other files say');
  });
}

t.test('CFG-003 a file of 64 MiB is refused without being read', async (t) => {
  const path = join(t.testdir(), 'large.yaml');
  writeFileSync(path, `${serviceYaml()}${'# a comment of fair length, many times\n'.repeat(1_720_000)}`);
  const { problems: found, documents } = await readConfigPath(path);
  t.match(found.map(describeProblem), [
    /large\.yaml:1:1: ServiceEntry shop\/reviews: must have at most 4194304 bytes, got 6\d{7}$/,
  ]);
  t.same(documents, []);
});

t.test('CFG-015 bytes that are no UTF-8 are refused; a byte order mark and CRLF are fine', async (t) => {
  const folder = t.testdir();
  const load = async (name: string, bytes: Buffer): ReturnType<typeof loadConfigFile> => {
    writeFileSync(join(folder, name), bytes);
    return loadConfigFile({ path: join(folder, name), state: '', size: bytes.length });
  };
  for (const bytes of [
    [0xff, 0xfe],
    [0xc0, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
  ]) {
    const { problems: found } = await load('bad.yaml', Buffer.from([0x61, 0x3a, 0x20, ...bytes, 0x0a]));
    t.match(found.map(describeProblem), [/bad\.yaml:1:1: is not UTF-8 text$/]);
  }
  const { documents } = await load('good.yaml', Buffer.from(`\uFEFF${serviceYaml().replaceAll('\n', '\r\n')}`));
  t.ok(compile(documents, { workload: web }).ok);
});

t.test('CFG-017 nothing is interpolated: what looks like a variable is text', async (t) => {
  process.env['INMESH_TEST_HOST'] = 'reviews';
  t.teardown(() => delete process.env['INMESH_TEST_HOST']);
  for (const text of [
    '$' + '{INMESH_TEST_HOST}',
    '$INMESH_TEST_HOST',
    '$' + '{file:/etc/passwd}',
    '{{ env.HOME }}',
    '%HOME%',
  ]) {
    const { snapshot } = good(route(`{${to}, headers: {request: {set: {x-a: '${text}'}}}}`));
    t.match(JSON.stringify([...snapshot.hosts.values()]), JSON.stringify(text), 'a header is sent as it is written');
    t.match(problems(route(`{${to}, timeout: '${text}'}`)), [/timeout: must be a duration/]);
  }
});

t.test('a configuration that was refused leaves nothing behind', async (t) => {
  for (const { yaml } of cases) compileYaml(yaml);
  t.same(Object.keys(Object.prototype), []);
  t.equal(({} as { x?: unknown }).x, undefined);
});

t.test(
  'every case of the layers CFG, RE and OBS is run by a test that has its id in its name, or says why not',
  async (t) => {
    const counts = { cfg: 20, re: 6, obs: 13 };
    for (const [layer, count] of Object.entries(counts)) {
      const { cases = [], elsewhere = {}, pending = {} } = readFixture(layer);
      const ids = new Set([...cases.map(({ id }) => id), ...Object.keys(elsewhere), ...Object.keys(pending)]);
      t.equal(ids.size, count, layer);
      for (const [id, file] of Object.entries(elsewhere)) {
        t.ok(readFileSync(`${root}${file}`, 'utf8').includes(id), `${id} in ${file}`);
      }
      for (const [id, why] of Object.entries(pending)) t.ok(why.length > 20, id);
    }
  },
);

t.test('RE-009 of a pattern that is so wide that longer paths do not match, the report warns', async (t) => {
  const remarks = (regex: string): readonly string[] =>
    good(route(`{match: [{uri: {regex: '${regex}'}}], ${to}}`)).remarks();
  t.match(remarks('(a?){200}'), [
    /uri\.regex enforced \(warning\): is wide: texts longer than \d{3} characters do not match$/,
  ]);
  t.same(remarks('/api/v[0-9]+(/.*)?'), []);
});
