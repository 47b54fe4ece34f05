import t from 'tap';
import { describeType } from '../../src/config/check.ts';
import { kindTables } from '../../src/config/kinds.ts';
import {
  any,
  boolean,
  duration,
  integer,
  list,
  map,
  nonEmptyList,
  number,
  object,
  oneOfValues,
  string,
} from '../../src/config/schema.ts';
import { good, problems, resourceYaml, serviceYaml } from './support.ts';

const virtualService = (http: string): string =>
  serviceYaml() + resourceYaml('VirtualService', 'reviews', `{hosts: [reviews], http: [${http}]}`);
const to = 'route: [{destination: {host: reviews}}]';
const destinationRule = (spec: string): string =>
  resourceYaml('DestinationRule', 'reviews', `{host: reviews, ${spec}}`);
const policy = (spec: string): string => resourceYaml('AuthorizationPolicy', 'p', `{${spec}}`);

const refusals: readonly (readonly [what: string, text: string, message: string])[] = [
  [
    'a number instead of a text',
    virtualService('{route: [{destination: {host: reviews, subset: 2}}]}'),
    'VirtualService shop/reviews: spec.http[0].route[0].destination.subset: must be a name of letters, digits and -; put it in quotes, got 2',
  ],
  [
    'a text instead of a number',
    virtualService('{route: [{destination: {host: reviews}, weight: ten}]}'),
    'spec.http[0].route[0].weight: must be an integer from 0 to 2147483647, got "ten"',
  ],
  [
    'a number in quotes',
    virtualService('{route: [{destination: {host: reviews}, weight: "10"}]}'),
    'must be an integer from 0 to 2147483647, got "10"',
  ],
  [
    'a negative weight',
    virtualService('{route: [{destination: {host: reviews}, weight: -1}]}'),
    'spec.http[0].route[0].weight: must be an integer from 0 to 2147483647, got -1',
  ],
  [
    'a fraction for an integer',
    virtualService('{route: [{destination: {host: reviews}, weight: 1.5}]}'),
    'must be an integer from 0 to 2147483647, got 1.5',
  ],
  [
    'an integer beyond 32 bits',
    virtualService(`{${to}, retries: {attempts: 12345678901234567890}}`),
    'spec.http[0].retries.attempts: must be an integer',
  ],
  [
    'a boolean of YAML 1.1',
    virtualService(`{match: [{ignoreUriCase: yes}], ${to}}`),
    'spec.http[0].match[0].ignoreUriCase: must be true or false, got "yes"',
  ],
  [
    'an enum of YAML 1.1',
    resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: NO}}'),
    'spec.mtls.mode: must be one of UNSET, DISABLE, PERMISSIVE, STRICT, got "NO"',
  ],
  [
    'a mistyped enum',
    resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: STRCT}}'),
    'spec.mtls.mode: must be one of UNSET, DISABLE, PERMISSIVE, STRICT (did you mean STRICT?), got "STRCT"',
  ],
  [
    'a boolean for an enum',
    resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: true}}'),
    'spec.mtls.mode: must be one of UNSET, DISABLE, PERMISSIVE, STRICT, got true',
  ],
  [
    'an unknown action',
    policy('action: PERMIT'),
    'spec.action: must be one of ALLOW, DENY, AUDIT, CUSTOM, got "PERMIT"',
  ],
  [
    'a list instead of a map',
    virtualService(`{${to}, retries: []}`),
    'spec.http[0].retries: must be a map of fields, got []',
  ],
  [
    'a map instead of a list',
    virtualService('{route: {destination: {host: reviews}}}'),
    'spec.http[0].route: must be a list, got {"destination"',
  ],
  ['a null', virtualService(`{${to}, timeout: }`), 'spec.http[0].timeout: must be a duration'],
  [
    'a duration without a unit',
    virtualService(`{${to}, timeout: 5}`),
    'spec.http[0].timeout: must be a duration such as 250ms, 1.5s or 1h30m, in whole milliseconds, at least 1ms, got 5',
  ],
  ['a negative duration', virtualService(`{${to}, timeout: -1s}`), 'spec.http[0].timeout: must be a duration'],
  [
    'a duration of nothing',
    destinationRule('trafficPolicy: {outlierDetection: {interval: 0s}}'),
    'spec.trafficPolicy.outlierDetection.interval: must be a duration',
  ],
  [
    'a duration beyond all bounds',
    virtualService(`{${to}, timeout: 1e400s}`),
    'spec.http[0].timeout: must be a duration',
  ],
  [
    'a duration below a millisecond',
    virtualService(`{${to}, timeout: 10us}`),
    'spec.http[0].timeout: must be a duration',
  ],
  [
    'a percentage above 100',
    destinationRule('trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}'),
    'maxEjectionPercent: must be an integer from 0 to 100, got 101',
  ],
  [
    'a fault percentage above 100',
    virtualService(`{${to}, fault: {abort: {httpStatus: 503, percentage: {value: 100.5}}}}`),
    'spec.http[0].fault.abort.percentage.value: must be a number from 0 to 100, got 100.5',
  ],
  [
    'an unknown field',
    virtualService(`{${to}, timout: 1s}`),
    'VirtualService shop/reviews: spec.http[0].timout: is not a known field (did you mean timeout?)',
  ],
  [
    'an unknown field far from any',
    virtualService(`{${to}, banana: 1s}`),
    'spec.http[0].banana: is not a field that is known here',
  ],
  [
    'an unknown field below an ignored one',
    virtualService(`{${to}, fault: {dely: {}}}`),
    'spec.http[0].fault.dely: is not a known field (did you mean delay?)',
  ],
  [
    'the name of a field in protobuf',
    virtualService(`{${to}, retries: {attempts: 1, per_try_timeout: 1s}}`),
    'spec.http[0].retries.per_try_timeout: is not a known field (did you mean perTryTimeout?)',
  ],
  [
    'two alternatives at once',
    virtualService(`{match: [{uri: {exact: /a, prefix: /b}}], ${to}}`),
    'spec.http[0].match[0].uri: may have only one of exact and prefix',
  ],
  ['a missing field', virtualService('{route: [{weight: 1}]}'), 'spec.http[0].route[0]: needs the field destination'],
  [
    'port 0',
    virtualService('{route: [{destination: {host: reviews, port: {number: 0}}}]}'),
    'destination.port.number: must be an integer from 1 to 65535, got 0',
  ],
  [
    'port 65536',
    virtualService('{route: [{destination: {host: reviews, port: {number: 65536}}}]}'),
    'must be an integer from 1 to 65535, got 65536',
  ],
  [
    'a header that could add a header',
    virtualService(`{${to}, rewrite: {authority: "a\\r\\nb: c"}}`),
    'spec.http[0].rewrite.authority: must not have control characters, got "a\\r\\nb: c"',
  ],
  [
    'a key of the wrong form',
    resourceYaml('PeerAuthentication', 'p', '{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}'),
    'spec.portLevelMtls.http: the key must be a port number, got "http"',
  ],
  [
    'a wildcard in a selector',
    policy('selector: {matchLabels: {app: "*"}}'),
    'spec.selector.matchLabels.app: must be a label value of at most 63 characters without *, got "*"',
  ],
  [
    'an empty list where it would mean nobody or everybody',
    policy('rules: [{to: [{operation: {paths: []}}]}]'),
    'spec.rules[0].to[0].operation: must say something: an empty operation is an error',
  ],
  [
    'an empty text in such a list',
    policy('rules: [{to: [{operation: {paths: [""]}}]}]'),
    'paths[0]: must be a text that is not empty, got ""',
  ],
  [
    'a text that is too long',
    serviceYaml().replace('address: 10.0.0.1', `address: ${'a'.repeat(300)}`),
    'spec.endpoints[0].address: must be a text of at most 256 characters, got "aaaa',
  ],
];

for (const [what, text, message] of refusals) {
  t.test(`${what} is refused`, async (t) => {
    const found = problems(text);
    t.ok(
      found.some((each) => each.includes(message)),
      found.join('\n') || 'accepted',
    );
    for (const each of found) t.match(each, /^0\.yaml:\d+:\d+: [A-Z][A-Za-z]+ shop\/[a-z]+: /);
  });
}

const refusedFields: readonly (readonly [text: string, field: string])[] = [
  [policy('rules: [{when: [{key: "experimental.envoy.filters.a.b[c]", values: [a]}]}]'), 'spec.rules[0].when[0].key'],
  [policy('targetRefs: [{kind: Service, name: a}]'), 'spec.targetRefs'],
  [policy('targetRef: {kind: Service, name: a}'), 'spec.targetRef'],
];

t.test('what would be less secure, or go elsewhere, when it is left out is refused by name', async (t) => {
  for (const [text, field] of refusedFields) {
    const found = problems(text);
    t.ok(
      found.some((each) => each.includes(`: ${field}: is refused: `)),
      `${field}: ${found.join('\n')}`,
    );
  }
});

t.test('traffic fields without an effect are in the report, with their place', async (t) => {
  const { report } = good(
    serviceYaml() +
      resourceYaml(
        'VirtualService',
        'reviews',
        `{hosts: [reviews], tcp: [{match: [{sourceSubnet: 10.0.0.1, port: 80}, {sourceSubnet: 10.0.0.2}], ${to}}]}`,
      ),
  );
  const ignored = report.entries.filter((entry) => entry.status === 'ignored');
  t.same(
    ignored.map((entry) => entry.field),
    ['spec.tcp[0].match[0].sourceSubnet', 'spec.tcp[0].match[1].sourceSubnet'],
  );
  t.match(ignored[0]?.at, { kind: 'VirtualService', namespace: 'shop', name: 'reviews', file: '0.yaml', line: 18 });
});

t.test('an enforced field is reported once a resource, however often it occurs', async (t) => {
  const { report } = good(serviceYaml());
  const addresses = report.entries.filter((entry) => entry.field.endsWith('.address'));
  t.match(addresses, [{ field: 'spec.endpoints[0].address', status: 'enforced' }]);
  t.equal(addresses.length, 1);
});

t.test('every field of every table says what it must be', async (t) => {
  for (const type of [
    any,
    boolean,
    duration(),
    integer(),
    list(any),
    nonEmptyList(any),
    map(any),
    number(0, 1),
    object({}),
    oneOfValues('A'),
    string(),
  ]) {
    t.not(describeType(type), '');
  }
});

t.test('every field that is not enforced, and could surprise, says why', async (t) => {
  for (const table of kindTables) {
    if (table.status !== 'enforced') t.ok(table.note, table.kind);
    t.match(table.reference, /^(https:\/\/|reference\/)/);
  }
});
