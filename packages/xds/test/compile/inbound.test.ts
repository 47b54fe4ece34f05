import fc from 'fast-check';
import type { InboundPolicy } from 'inmesh/model';
import t from 'tap';
import type { AuthorizationFacts } from '../../../../src/authz/facts.ts';
import { compileRbac, rbacAbout } from '../../../../src/authz/rbac.ts';
import type { CompileContext } from '../../src/compile/compile.ts';
import { compileInbound } from '../../src/compile/inbound.ts';
import { readListener } from '../../src/compile/listener.ts';
import { type Any, pack } from '../../src/proto/any.ts';
import type { HttpFilter } from '../../src/proto/envoy/http-connection-manager.ts';
import { corsPolicySchema, httpFaultSchema } from '../../src/proto/envoy/http-filters.ts';
import type { FilterChain } from '../../src/proto/envoy/listener.ts';
import { localRateLimitSchema } from '../../src/proto/envoy/local-ratelimit.ts';
import {
  type Permission,
  type Principal,
  permissionSchema,
  principalSchema,
  type Rbac,
} from '../../src/proto/envoy/rbac.ts';
import { routeConfigurationSchema } from '../../src/proto/envoy/route-config.ts';
import { uriTemplateMatchConfigSchema } from '../../src/proto/envoy/route-match.ts';
import { bytes, message } from '../../src/proto/kinds.ts';
import { type Input, mapOf, repeated, type Schema, schema, single } from '../../src/proto/schema.ts';
import type { ResourceSet } from '../../src/resources.ts';
import {
  chains,
  extAuthz,
  grpcInbound,
  http,
  istioTls,
  networkRbac,
  rbac,
  router,
  shadow,
  tcp,
  tlsSocket,
  tokens,
  typedStruct,
  unknown,
  virtualInbound,
} from './inbound-listeners.ts';

const istio: CompileContext = {
  workload: {
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'web',
    labels: {},
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  },
  profile: 'istio',
  services: [],
  serverListeners: [],
  addresses: ['10.0.0.1'],
};
const grpcName = 'xds.istio.io/grpc/lds/inbound/10.0.0.1:8080';
const grpc: CompileContext = { ...istio, profile: 'grpc', serverListeners: [grpcName] };

function setOf(...listeners: readonly Any[]): ResourceSet {
  const named = listeners.map((any) => [readListener(any).value.name, any] as const);
  return { listeners: new Map(named), routes: new Map(), clusters: new Map(), endpoints: new Map() };
}

function compiled(listener: Any, context = istio): InboundPolicy {
  const { problems, result } = compileInbound(setOf(listener), context);
  t.same(problems, []);
  return result.inbound;
}

const all = { permissions: [{ any: true }], principals: [{ any: true }] };
const anybody: Input<Rbac> = { action: 'DENY', policies: policies({}) };

function policies(
  given: { readonly permissions?: readonly Input<Permission>[]; readonly principals?: readonly Input<Principal>[] },
  name = 'p',
) {
  return new Map([[name, { ...all, ...given }]]) as unknown as Rbac['policies'];
}

const facts: AuthorizationFacts = {
  peer: {
    spiffeId: 'spiffe://cluster.local/ns/shop/sa/web',
    trustDomain: 'cluster.local',
    namespace: 'shop',
    serviceAccount: 'web',
  },
  method: 'GET',
  path: '/',
  rawPath: '/',
  host: 'web',
  localPort: 8_080,
  claims: undefined,
  sourceAddress: '10.0.0.9',
  remoteAddress: '10.0.0.9',
  destinationAddress: '10.0.0.1',
  sni: '',
  rawHeaders: [],
};

function allowed(
  policy: InboundPolicy,
  given: Partial<AuthorizationFacts> = {},
  what: 'requests' | 'connections' = 'requests',
) {
  return compileRbac(rbacAbout(policy.rbac ?? [], what)).decide({ ...facts, ...given }).allowed;
}

/** Why a listener is refused; nothing when it is not. */
function refusal(listener: Any): unknown {
  try {
    readListener(listener);
  } catch (error) {
    return error;
  }
  return undefined;
}

/** One principal or permission, as the only one that is allowed or denied. */
function matching(
  action: 'ALLOW' | 'DENY',
  given: Parameters<typeof policies>[0],
  about: Partial<AuthorizationFacts> = {},
) {
  const chain = http([rbac({ action, policies: policies(given) }), router]);
  const yes = allowed(compiled(virtualInbound(chains(undefined, 'PERMISSIVE', chain))), about);
  return action === 'ALLOW' ? yes : !yes;
}

t.test('each port has the mode that its filter chains come to', async (t) => {
  const chain = http([router]);
  const { mtls } = compiled(
    virtualInbound([
      ...chains(undefined, 'PERMISSIVE', chain),
      ...chains(8_080, 'STRICT', chain),
      ...chains(9_090, 'DISABLE', chain),
      ...chains(9_091, 'PERMISSIVE', tcp),
      // TLS that is handed on as it is says nothing of what the mesh ends
      { filter_chain_match: { destination_port: 9_090, transport_protocol: 'tls' }, filters: [tcp] },
      // what is sent to the port of the proxy itself
      { filter_chain_match: { destination_port: 15_006 }, filters: [{ ...tcp, typed_config: blackHole() }] },
    ]),
  );
  t.equal(mtls.mode, 'PERMISSIVE');
  t.same(
    [...mtls.ports],
    [
      [8_080, 'STRICT'],
      [9_090, 'DISABLE'],
      [9_091, 'PERMISSIVE'],
    ],
  );
});

function blackHole(): Any {
  const { typed_config: packed } = tcp as { readonly typed_config: Any };
  return { ...packed, value: Buffer.concat([Buffer.from([0x12, 16]), Buffer.from('BlackHoleCluster')]) };
}

t.test('ports that no filter chain is for let nobody in', async (t) => {
  const policy = compiled(virtualInbound(chains(8_080, 'PERMISSIVE', http([router]))));
  t.equal(allowed(policy), true);
  t.equal(allowed(policy, { localPort: 9_090 }), false);
  t.equal(allowed(policy, { localPort: 9_090 }, 'connections'), false);
});

t.test('without a listener that can be used nobody is let in, unless none is asked for', async (t) => {
  const nothing = setOf();
  for (const [context, passes] of [
    [istio, false],
    [grpc, false],
    [{ ...grpc, serverListeners: [] }, true],
  ] as const) {
    const { entries, result } = compileInbound(nothing, context);
    t.equal(allowed(result.inbound), passes);
    t.equal(entries[0]?.warning, true, 'it is told of');
  }
});

t.test('a listener that demands nothing is told of', async (t) => {
  const { entries } = compileInbound(setOf(grpcInbound(8_080, { filters: [http([router])] })), grpc);
  t.match(
    entries.filter(({ warning }) => warning === true),
    [{ field: 'filter_chains', note: /nothing is demanded of callers/ }],
  );
  const strict = compileInbound(setOf(grpcInbound(8_080, { filters: [http([router])], ...tlsSocket() })), grpc);
  t.same(
    strict.entries.filter(({ warning }) => warning === true),
    [],
  );
  t.equal(strict.result.inbound.mtls.ports.get(8_080), 'STRICT');
});

/** TLS of a port that says what may be spoken. */
const speaking = (port: number | undefined, tls_params: object | undefined, alpn: readonly string[] = []) => ({
  filter_chain_match: {
    ...(port === undefined ? {} : { destination_port: port }),
    transport_protocol: 'tls',
    application_protocols: alpn,
  },
  filters: [http([router])],
  ...tlsSocket({
    ...istioTls,
    common_tls_context: { ...istioTls.common_tls_context, tls_params },
  } as typeof istioTls),
});

t.test('what TLS may be spoken on a port is what its filter chains say, and all of them the same', async (t) => {
  const [strong, weak] = ['ECDHE-RSA-AES128-GCM-SHA256', 'AES128-GCM-SHA256'];
  t.same(
    compiled(
      virtualInbound([
        speaking(80, { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' }),
        speaking(81, { tls_minimum_protocol_version: 'TLSv1_0' }),
        speaking(82, { tls_maximum_protocol_version: 'TLSv1_2', cipher_suites: [weak, strong] }),
        speaking(undefined, { ecdh_curves: ['P-256'] }),
      ]),
    ).tls,
    {
      ports: new Map([
        [80, { minVersion: 'TLSv1.3' }],
        [81, {}],
        [82, { maxVersion: 'TLSv1.2', cipherSuites: [strong] }],
      ]),
      others: { curves: ['P-256'] },
    },
  );
  t.equal(compiled(virtualInbound([speaking(80, undefined), speaking(81, { cipher_suites: [] })])).tls, undefined);
});

t.test(
  'trust domains of the listener are those whose names count, and other names are asked for by policy',
  async (t) => {
    const chain = (names: readonly object[]): Any => {
      const context = structuredClone(istioTls) as unknown as {
        common_tls_context: { combined_validation_context: { default_validation_context: object } };
      };
      context.common_tls_context.combined_validation_context.default_validation_context = {
        match_typed_subject_alt_names: names.map((matcher) => ({ san_type: 'URI', matcher })),
      };
      return virtualInbound([
        { filters: [http([router])], ...tlsSocket(context as Input<typeof istioTls> as typeof istioTls) },
      ]);
    };
    const two = compileInbound(
      setOf(chain([{ prefix: 'spiffe://cluster.local/' }, { prefix: 'spiffe://old/' }])),
      istio,
    ).result;
    t.same(two.trust, { trustDomain: 'cluster.local', aliases: ['old'], anchors: [] });
    t.equal(two.inbound.rbac, undefined);
    const one = compiled(chain([{ exact: 'spiffe://cluster.local/ns/shop/sa/api' }]));
    t.equal(allowed(one), false);
    t.equal(
      allowed(one, {
        peer: { ...(facts.peer as NonNullable<typeof facts.peer>), spiffeId: 'spiffe://cluster.local/ns/shop/sa/api' },
      }),
      true,
    );
    t.equal(allowed(one, { peer: undefined }), true, 'plaintext is for the mode to refuse');
  },
);

t.test('HDR-025: an inverted match does not match a header that is absent', async (t) => {
  const header = { name: 'x-beta', exact_match: '1', invert_match: true };
  for (const action of ['ALLOW', 'DENY'] as const) {
    const given = { principals: [{ header }] };
    t.equal(matching(action, given), false, action);
    t.equal(matching(action, given, { rawHeaders: ['x-beta', '1'] }), false, action);
    t.equal(matching(action, given, { rawHeaders: ['X-Beta', '2'] }), true, action);
  }
  const absent = { principals: [{ header: { name: 'x-beta', present_match: true, invert_match: true } }] };
  t.equal(matching('ALLOW', absent), true, 'that it is absent can be asked for');
  t.equal(matching('ALLOW', absent, { rawHeaders: ['x-beta', ''] }), false);
});

t.test('HDR-026: hop-by-hop headers are absent for policies', async (t) => {
  for (const name of ['te', 'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding']) {
    const given = { principals: [{ header: { name, present_match: true } }] };
    t.equal(matching('ALLOW', given, { rawHeaders: [name, 'trailers'] }), false, name);
  }
  // What is in doubt between Envoy and gRPC does not open a door either.
  t.equal(
    matching('DENY', { principals: [{ header: { name: 'te', present_match: true } }] }, { rawHeaders: ['te', 'x'] }),
    true,
  );
});

t.test('HDR-027: policies on headers of the transport are refused', async (t) => {
  for (const name of ['grpc-timeout', 'Grpc-Status', ':scheme', ':path']) {
    const bad = virtualInbound(
      chains(
        8_080,
        'STRICT',
        http([
          rbac({ action: 'ALLOW', policies: policies({ principals: [{ header: { name, present_match: true } }] }) }),
          router,
        ]),
      ),
    );
    t.match(refusal(bad), { field: /principals\[0\]\.header\.name$/, value: JSON.stringify(name) });
  }
});

function template(text: string): Input<Permission> {
  return { uri_template: { name: 'x', typed_config: pack(uriTemplateMatchConfigSchema, { path_template: text }) } };
}

t.test('templates are those of Envoy', async (t) => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['/a/*/c', '/a/b/c', true],
    ['/a/*/c', '/a/b/d', false],
    ['/a/{id}', '/a/b', true],
    ['/a/{id=*}', '/a/b/c', false],
    ['/a/{rest=**}', '/a/b/c', true],
    ['/**/c', '/a/b/c', true],
    ['/{*}', '/a', true],
    ['/__proto__/*', '/__proto__/x', true],
  ];
  for (const [text, path, expected] of cases) {
    t.equal(matching('ALLOW', { permissions: [template(text)] }, { path, rawPath: path }), expected, `${text} ${path}`);
  }
});

t.test('permissions and principals match what they name', async (t) => {
  const cases: readonly (readonly [string, Parameters<typeof policies>[0], Partial<AuthorizationFacts>, boolean])[] = [
    ['any', {}, {}, true],
    ['path', { permissions: [{ url_path: { path: { exact: '/a' } } }] }, { path: '/a', rawPath: '/a' }, true],
    ['other path', { permissions: [{ url_path: { path: { exact: '/a' } } }] }, {}, false],
    [
      'path in any case',
      { permissions: [{ url_path: { path: { exact: '/A', ignore_case: true } } }] },
      { path: '/a', rawPath: '/a' },
      true,
    ],
    [
      'part of a path',
      { permissions: [{ url_path: { path: { contains: 'dm' } } }] },
      { path: '/admin', rawPath: '/admin' },
      true,
    ],
    ['port', { permissions: [{ destination_port: 8_080 }] }, {}, true],
    ['first port of a range', { permissions: [{ destination_port_range: { start: 8_080, end: 8_081 } }] }, {}, true],
    ['end of a range', { permissions: [{ destination_port_range: { start: 80, end: 8_080 } }] }, {}, false],
    ['address', { permissions: [{ destination_ip: { address_prefix: '10.0.0.0', prefix_len: 8 } }] }, {}, true],
    ...['::ffff:10.0.0.0', '::FFFF:a00:0'].map(
      (address_prefix) =>
        [
          `address of IPv4 in one of IPv6: ${address_prefix}`,
          { permissions: [{ destination_ip: { address_prefix, prefix_len: 104 } }] },
          {},
          true,
        ] as const,
    ),
    ['not', { permissions: [{ not_rule: { destination_port: 80 } }] }, {}, true],
    ['and', { permissions: [{ and_rules: { rules: [{ any: true }, { destination_port: 80 }] } }] }, {}, false],
    ['or', { permissions: [{ or_rules: { rules: [{ destination_port: 80 }, { any: true }] } }] }, {}, true],
    ['server name', { permissions: [{ requested_server_name: { exact: 'web' } }] }, { sni: 'web' }, true],
    ['no server name', { permissions: [{ requested_server_name: { safe_regex: { regex: '.*' } } }] }, {}, true],
    ['some server name', { permissions: [{ requested_server_name: { safe_regex: { regex: '.+' } } }] }, {}, false],
    ['method', { permissions: [{ header: { name: ':method', string_match: { exact: 'GET' } } }] }, {}, true],
    [
      'host',
      { permissions: [{ header: { name: ':authority', string_match: { exact: 'WEB', ignore_case: true } } }] },
      { host: 'web:80' },
      true,
    ],
    ['host as it is', { permissions: [{ header: { name: 'host', string_match: { exact: 'web' } } }] }, {}, true],
    ['identity', { principals: [{ authenticated: {} }] }, {}, true],
    ['no identity', { principals: [{ authenticated: {} }] }, { peer: undefined }, false],
    ['name', { principals: [{ authenticated: { principal_name: { suffix: '/sa/web' } } }] }, {}, true],
    [
      'not a name',
      { principals: [{ not_id: { authenticated: { principal_name: { suffix: '/sa/web' } } } }] },
      {},
      false,
    ],
    [
      'peer of another filter',
      { principals: [{ filter_state: { key: 'io.istio.peer_principal', string_match: { suffix: '/sa/web' } } }] },
      {},
      true,
    ],
    [
      'address of the peer',
      { principals: [{ direct_remote_ip: { address_prefix: '10.0.0.9', prefix_len: 32 } }] },
      {},
      true,
    ],
    ['old word for it', { principals: [{ source_ip: { address_prefix: '10.0.0.9', prefix_len: 32 } }] }, {}, true],
    [
      'address of the caller',
      { principals: [{ remote_ip: { address_prefix: '10.0.0.8', prefix_len: 32 } }] },
      {},
      false,
    ],
    ['path of a principal', { principals: [{ url_path: { path: { prefix: '/' } } }] }, {}, true],
    [
      'number in a range',
      { principals: [{ header: { name: 'n', range_match: { start: 1, end: 3 } } }] },
      { rawHeaders: ['n', '2'] },
      true,
    ],
    [
      'number beyond',
      { principals: [{ header: { name: 'n', range_match: { start: 1, end: 3 } } }] },
      { rawHeaders: ['n', '3'] },
      false,
    ],
    [
      'number below',
      { principals: [{ header: { name: 'n', range_match: { start: 1, end: 3 } } }] },
      { rawHeaders: ['n', '0'] },
      false,
    ],
    [
      'no number',
      { principals: [{ header: { name: 'n', range_match: { start: 1, end: 3 } } }] },
      { rawHeaders: ['n', 'x'] },
      false,
    ],
    [
      'a number with more',
      { principals: [{ header: { name: 'n', range_match: { start: 1, end: 3 } } }] },
      { rawHeaders: ['n', '2;x'] },
      false,
    ],
    [
      'absent as empty',
      { principals: [{ header: { name: 'n', string_match: { exact: '' }, treat_missing_header_as_empty: true } }] },
      {},
      true,
    ],
    [
      'absent as empty, inverted',
      {
        principals: [
          { header: { name: 'n', exact_match: 'x', treat_missing_header_as_empty: true, invert_match: true } },
        ],
      },
      {},
      true,
    ],
    [
      'metadata that nobody sets',
      { principals: [{ metadata: { filter: 'x', path: [{ key: 'a' }], value: { present_match: true } } }] },
      {},
      false,
    ],
    [
      'the same, inverted',
      {
        principals: [{ metadata: { filter: 'x', path: [{ key: 'a' }], value: { present_match: true }, invert: true } }],
      },
      {},
      true,
    ],
    [
      'claims where no token is read',
      { principals: [claim({ string_match: { exact: 'x' } })] },
      { claims: { role: 'x' } },
      false,
    ],
  ];
  for (const [name, given, about, expected] of cases) {
    t.equal(matching('ALLOW', given, about), expected, `${name}, to allow`);
    t.equal(matching('DENY', given, about), expected, `${name}, to refuse`);
  }
});

function claim(value: object): Input<Principal> {
  return { metadata: { filter: 'envoy.filters.http.jwt_authn', path: [{ key: 'payload' }, { key: 'role' }], value } };
}

const provider = {
  issuer: 'https://idp',
  local_jwks: { inline_string: '{"keys":[]}' },
  forward: true,
  payload_in_metadata: 'payload',
};
const everywhere = { match: { prefix: '/' } };
const optional = (name: string) => ({
  requires_any: { requirements: [{ provider_name: name }, { allow_missing: {} }] },
});

function jwt(requires: object, providers: readonly string[] = ['a'], more: object = {}): Input<HttpFilter> {
  return tokens({
    providers: new Map(providers.map((name) => [name, { ...provider, issuer: name, ...more }])) as never,
    rules: [{ ...everywhere, requires }],
    bypass_cors_preflight: true,
  });
}

t.test('claims are those of the token that was read before', async (t) => {
  const about = { claims: { role: ['user', 'admin'], n: 3, ok: true, no: null } };
  const is = (value: object): boolean => {
    const filters = [
      jwt(optional('a')),
      rbac({ action: 'ALLOW', policies: policies({ principals: [claim(value)] }) }),
      router,
    ];
    return allowed(compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http(filters)))), about);
  };
  t.equal(is({ list_match: { one_of: { string_match: { exact: 'admin' } } } }), true);
  t.equal(is({ string_match: { exact: 'admin' } }), false, 'a list is no text');
  t.equal(is({ or_match: { value_matchers: [{ bool_match: true }, { present_match: true }] } }), true);
  t.equal(is({ double_match: { exact: 3 } }), false);
  t.equal(is({ null_match: {} }), false);
  const before = [
    rbac({ action: 'ALLOW', policies: policies({ principals: [claim({ present_match: true })] }) }),
    jwt(optional('a')),
    router,
  ];
  t.equal(allowed(compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http(before)))), about), false);
});

t.test('tokens are read as the requirements of istiod say', async (t) => {
  const read = (filter: Input<HttpFilter>) =>
    (
      compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http([filter, router])))).requestAuthentication ?? []
    ).flatMap(({ rules }) => rules);
  t.match(read(jwt(optional('a'))), [
    { issuer: 'a', keys: { kind: 'inline' }, forwardOriginalToken: true, required: undefined },
  ]);
  t.match(read(jwt({ provider_name: 'a' })), [{ issuer: 'a', required: true }]);
  const both = {
    requires_any: {
      requirements: [
        { provider_name: 'b' },
        { provider_name: 'a' },
        { requires_all: { requirements: [optional('a'), optional('b')] } },
      ],
    },
  };
  t.match(read(jwt(both, ['b', 'a'])), [
    { issuer: 'a', required: undefined },
    { issuer: 'b', required: undefined },
  ]);
  const full = read(
    jwt(optional('a'), ['a'], {
      local_jwks: undefined,
      remote_jwks: { http_uri: { uri: 'https://idp/keys', cluster: 'c', timeout: 2_000 } },
      from_headers: [{ name: 'X-Token', value_prefix: 'T ' }],
      from_params: ['t'],
      from_cookies: ['c'],
      forward_payload_header: 'X-Payload',
      claim_to_headers: [{ header_name: 'X-Role', claim_name: 'role' }],
      normalize_payload_in_metadata: { space_delimited_claims: ['groups', 'permission', 'scope'] },
      audiences: ['shop'],
      forward: false,
    }),
  );
  t.same(full, [
    {
      issuer: 'a',
      audiences: ['shop'],
      keys: { kind: 'uri', uri: 'https://idp/keys' },
      fromHeaders: [{ name: 'x-token', prefix: 'T ' }],
      fromParams: ['t'],
      fromCookies: ['c'],
      outputPayloadToHeader: 'x-payload',
      outputClaimToHeaders: [{ header: 'x-role', claim: 'role' }],
      forwardOriginalToken: false,
      timeoutMs: 2_000,
      spaceDelimitedClaims: ['groups'],
    },
  ]);
});

const gate = (prefix = 'istio-ext-authz-opa-') => ({
  filter: 'envoy.filters.http.rbac',
  path: [{ key: 'istio_ext_authz_shadow_effective_policy_id' }],
  value: { string_match: { prefix } },
});
const service = {
  grpc_service: { envoy_grpc: { cluster_name: 'outbound|9000||opa.auth.svc.cluster.local' }, timeout: 600_000 },
};

t.test('external authorizers are asked about what the shadow rules before them match', async (t) => {
  const rules = {
    action: 'DENY',
    policies: policies(
      { permissions: [{ destination_port: 8_080 }] },
      'istio-ext-authz-opa-ns[shop]-policy[ask]-rule[1]',
    ),
  } as const;
  const filters = [
    shadow({ shadow_rules: rules, shadow_rules_stat_prefix: 'istio_ext_authz_' }),
    extAuthz({
      ...service,
      failure_mode_allow: true,
      status_on_error: { code: 'ServiceUnavailable' },
      filter_enabled_metadata: gate(),
    }),
    router,
  ];
  const { checks, rbac: none } = compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http(filters))));
  t.same(rbacAbout(none ?? [], 'requests'), [], 'they refuse nothing by themselves');
  t.match(checks, [
    {
      authorizer: {
        service: 'opa.auth.svc.cluster.local:9000',
        failOpen: true,
        statusOnError: 503,
        timeoutMs: 600_000,
        protocol: { kind: 'grpc' },
      },
      when: [{ rule: 1, provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'ask' } }],
    },
  ]);
  t.equal(checks?.[0]?.last, undefined);
  const behind = compiled(
    virtualInbound(chains(undefined, 'PERMISSIVE', http([rbac(anybody), extAuthz(service), router]))),
  );
  t.match(behind.checks, [{ last: true, when: undefined }]);
  const other = { grpc_service: { envoy_grpc: { cluster_name: 'opa' } } };
  const unknownService = compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http([extAuthz(other), router]))));
  t.equal(unknownService.checks?.[0]?.authorizer.service, undefined, 'nobody can be asked: it is refused');
});

t.test('connections have the policies of their TCP chain, or none to pass by', async (t) => {
  const refuse = networkRbac({ action: 'DENY', policies: policies({ permissions: [{ destination_port: 5_432 }] }) });
  const policy = compiled(
    virtualInbound([
      ...chains(undefined, 'PERMISSIVE', tcp),
      ...chains(5_432, 'PERMISSIVE', refuse, tcp),
      ...chains(8_080, 'PERMISSIVE', http([rbac({ action: 'ALLOW', policies: policies({}) }), router])),
    ]),
  );
  t.equal(allowed(policy, { localPort: 5_432 }, 'connections'), false);
  t.equal(allowed(policy, { localPort: 5_432 }, 'requests'), false, 'what is read on that port all the same');
  t.equal(allowed(policy, { localPort: 8_080 }, 'connections'), false, 'policies for requests cannot be asked');
  t.equal(allowed(policy, { localPort: 8_080 }), true);
  t.equal(allowed(policy, { localPort: 1 }, 'connections'), true);
});

t.test('settings of connections are those of the model', async (t) => {
  const policy = compiled(
    virtualInbound(
      chains(
        undefined,
        'PERMISSIVE',
        http([router], {
          forward_client_cert_details: 'APPEND_FORWARD',
          set_current_client_cert_details: { subject: true, uri: true, dns: true },
          merge_slashes: true,
          xff_num_trusted_hops: 2,
        }),
      ),
    ),
  );
  t.match(policy, {
    forwardClientCert: { mode: 'APPEND_FORWARD', details: { subject: true, uri: true, dns: true, cert: false } },
    pathNormalization: 'MERGE_SLASHES',
    numTrustedProxies: 2,
  });
  for (const [settings, expected] of [
    [{ normalize_path: false }, 'NONE'],
    [{}, 'BASE'],
    [{ path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' }, 'DECODE_AND_MERGE_SLASHES'],
  ] as const) {
    t.equal(
      compiled(virtualInbound(chains(undefined, 'DISABLE', http([router], settings)))).pathNormalization,
      expected,
    );
  }
});

const rbacType = 'envoy.extensions.filters.http.rbac.v3.RBAC';

t.test('filters may be written as JSON, as EnvoyFilters have them', async (t) => {
  const percent = { runtime_key: 'x', default_value: { numerator: 100, denominator: 'HUNDRED' } };
  const limit = typedStruct('limit', 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit', {
    stat_prefix: 'http_local_rate_limiter',
    tokenBucket: { max_tokens: '4', tokens_per_fill: 4, fill_interval: '60s' },
    filter_enabled: percent,
    filterEnforced: percent,
    response_headers_to_add: [{ header: { key: 'x-local-rate-limit', value: 'true' } }],
  });
  const refuse = typedStruct('rbac', rbacType, {
    rules: {
      action: 'DENY',
      policies: { p: { permissions: [{ url_path: { path: { exact: '/a' } } }], principals: [{ any: true }] } },
    },
  });
  const policy = compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http([limit, refuse, router]))));
  t.match(policy.localRateLimits, [
    { bucket: { maxTokens: 4, tokensPerFill: 4, fillIntervalMs: 60_000 }, shadow: false },
  ]);
  t.equal(allowed(policy), true);
  t.equal(allowed(policy, { path: '/a', rawPath: '/a' }), false);
});

t.test('limits are those of local_ratelimit, as far as it is on', async (t) => {
  const on = { default_value: { numerator: 100, denominator: 'HUNDRED' } } as const;
  const bucket = { token_bucket: { max_tokens: 10, tokens_per_fill: 5, fill_interval: 1_000 } };
  const limit = (config: object): InboundPolicy['localRateLimits'] => {
    const filter = {
      name: 'limit',
      typed_config: pack(localRateLimitSchema, { stat_prefix: 'local', ...bucket, ...config }),
    };
    return compiled(
      virtualInbound([
        ...chains(undefined, 'DISABLE', http([router])),
        ...chains(8_080, 'DISABLE', http([filter, router])),
      ]),
    ).localRateLimits;
  };
  t.match(limit({ filter_enabled: on, filter_enforced: on }), [
    {
      name: 'local',
      bucket: { maxTokens: 10, tokensPerFill: 5, fillIntervalMs: 1_000 },
      shadow: false,
      rules: [{ to: [{ ports: [8_080] }] }],
    },
  ]);
  t.match(limit({ filter_enabled: on }), [{ shadow: true }]);
  t.equal(limit({}), undefined, 'Envoy limits nothing until it is told to');
});

t.test('filters of Istio that only watch are passed over, others that nobody knows are not', async (t) => {
  const filters = [
    typedStruct('istio.metadata_exchange', 'io.istio.http.peer_metadata.Config'),
    typedStruct('istio.stats', 'stats.PluginConfig'),
    unknown('optional', { is_optional: true }),
    unknown('disabled', { disabled: true }),
    rbac(anybody),
    rbac(anybody),
    router,
  ];
  t.equal(allowed(compiled(virtualInbound(chains(undefined, 'PERMISSIVE', http(filters))))), false);
});

/** A policy with one more field. */
function rbacWith(number: number): Input<HttpFilter> {
  const policy: Schema<{
    readonly given: readonly Principal[];
    readonly permissions: readonly Permission[];
    readonly more: Uint8Array | undefined;
  }> = schema('envoy.config.rbac.v3.Policy', {
    fields: {
      permissions: repeated(
        1,
        message(() => permissionSchema),
      ),
      given: repeated(
        2,
        message(() => principalSchema),
      ),
      more: single(number, bytes),
    },
  });
  const rules: Schema<{ readonly policies: ReadonlyMap<string, unknown> }> = schema('envoy.config.rbac.v3.RBAC', {
    fields: {
      policies: mapOf(
        2,
        message(() => policy as Schema<unknown>),
      ),
    },
  });
  const filter: Schema<{ readonly rules: unknown }> = schema('envoy.extensions.filters.http.rbac.v3.RBAC', {
    fields: {
      rules: single(
        1,
        message(() => rules as Schema<unknown>),
      ),
    },
  });
  const given = { permissions: [{ any: true }], given: [{ any: true }], more: new Uint8Array() };
  return { name: 'rbac', typed_config: pack(filter, { rules: { policies: new Map([['p', given]]) } }) };
}

t.test('what would let more pass if it were left out is refused, with its field', async (t) => {
  const tls = (change: object, common: object = {}, validation?: object): Any =>
    virtualInbound([
      {
        filters: [http([router])],
        ...tlsSocket({
          ...istioTls,
          ...change,
          common_tls_context: {
            ...istioTls.common_tls_context,
            ...common,
            ...(validation && {
              combined_validation_context: {
                ...istioTls.common_tls_context?.combined_validation_context,
                default_validation_context: validation,
              },
            }),
          },
        } as typeof istioTls),
      },
    ]);
  const withFilters = (...filters: readonly Input<HttpFilter>[]): Any =>
    virtualInbound(chains(8_080, 'STRICT', http(filters)));
  const permission = (given: Input<Permission>): Any =>
    withFilters(rbac({ policies: policies({ permissions: [given] }) }), router);
  const principal = (given: Input<Principal>): Any =>
    withFilters(rbac({ policies: policies({ principals: [given] }) }), router);
  const chain = (match: Input<FilterChain['filter_chain_match']>): Any =>
    virtualInbound([{ filter_chain_match: match, filters: [http([router])] }]);
  const cases: readonly (readonly [string, Any, RegExp])[] = [
    [
      'TLS-022: a client certificate is required and nothing verifies it',
      grpcInbound(8_080, {
        filters: [http([router])],
        ...tlsSocket({ require_client_certificate: true, common_tls_context: {} }),
      }),
      /^filter_chains\[0\]\.transport_socket\.typed_config\.common_tls_context$/,
    ],
    [
      'TLS-022: the same without any TLS settings',
      grpcInbound(8_080, { filters: [http([router])], ...tlsSocket({ require_client_certificate: true }) }),
      /common_tls_context$/,
    ],
    ['TLS without client certificates', tls({ require_client_certificate: false }), /require_client_certificate$/],
    ['a server name is demanded', tls({ require_sni: true }), /require_sni$/],
    ['a status is stapled', tls({ ocsp_staple_policy: 'MUST_STAPLE' }), /ocsp_staple_policy$/],
    [
      'TLS 1.1 at most',
      tls({}, { tls_params: { tls_maximum_protocol_version: 'TLSv1_1' } }),
      /tls_maximum_protocol_version$/,
    ],
    [
      'a highest version below the lowest',
      tls({}, { tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_2' } }),
      /tls_maximum_protocol_version$/,
    ],
    [
      'chains of a port that let different versions in',
      virtualInbound([speaking(80, { tls_minimum_protocol_version: 'TLSv1_3' }, ['istio']), speaking(80, undefined)]),
      /^filter_chains\[1\]$/,
    ],
    [
      'a version that nobody knows',
      tls({}, { tls_params: { tls_minimum_protocol_version: 9 } }),
      /tls_minimum_protocol_version$/,
    ],
    [
      'an unknown suite',
      tls({}, { tls_params: { cipher_suites: ['[ECDHE-ECDSA-AES128-GCM-SHA256|FOO]'] } }),
      /tls_params\.cipher_suites\[0\]$/,
    ],
    [
      'weak suites alone',
      tls({}, { tls_params: { cipher_suites: ['AES128-SHA'] } }),
      /tls_params\.cipher_suites\[0\]$/,
    ],
    ['an unknown curve', tls({}, { tls_params: { ecdh_curves: ['P-256', 'P-512'] } }), /tls_params\.ecdh_curves\[1\]$/],
    ['another handshake', tls({}, { custom_handshaker: { name: 'x' } }), /custom_handshaker$/],
    [
      'roots of another secret',
      tls(
        {},
        {
          combined_validation_context: {
            default_validation_context: {},
            validation_context_sds_secret_config: { name: 'other' },
          },
        },
      ),
      /validation_context_sds_secret_config\.name$/,
    ],
    ['roots in the configuration', tls({}, {}, { trusted_ca: { inline_string: 'x' } }), /trusted_ca$/],
    ['a hash of certificates', tls({}, {}, { verify_certificate_hash: ['00'] }), /verify_certificate_hash$/],
    ['a key', tls({}, {}, { verify_certificate_spki: ['00'] }), /verify_certificate_spki$/],
    ['a list of revoked ones', tls({}, {}, { crl: { inline_string: 'x' } }), /crl$/],
    ['another verification', tls({}, {}, { custom_validator_config: { name: 'x' } }), /custom_validator_config$/],
    [
      'names of hosts',
      tls({}, {}, { match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'a' } }] }),
      /san_type$/,
    ],
    [
      'a socket that is no TLS',
      virtualInbound([{ filters: [tcp], transport_socket: { name: 'x', typed_config: { type_url: 'x/y' } } }]),
      /transport_socket\.typed_config$/,
    ],
    [
      'chains by a tree',
      virtualInbound(chains(1, 'STRICT', tcp), { filter_chain_matcher: {} }),
      /^filter_chain_matcher$/,
    ],
    [
      'another address before the bytes',
      virtualInbound([{ filters: [tcp], use_proxy_proto: true }]),
      /use_proxy_proto$/,
    ],
    ['chains by address', chain({ prefix_ranges: [{ address_prefix: '10.0.0.1' }] }), /prefix_ranges$/],
    ['chains by peer', chain({ source_prefix_ranges: [{ address_prefix: '10.0.0.1' }] }), /source_prefix_ranges$/],
    ['chains by server name', chain({ server_names: ['a'] }), /server_names$/],
    ['chains by source', chain({ source_type: 'EXTERNAL' }), /source_type$/],
    [
      'two chains of a port that differ',
      virtualInbound([...chains(1, 'DISABLE', http([router])), ...chains(1, 'STRICT', http([rbac(anybody), router]))]),
      /^filter_chains\[1\]$/,
    ],
    ['no filters', virtualInbound([{ filters: [] }]), /filters$/],
    [
      'a network filter that nobody knows',
      virtualInbound([{ filters: [{ name: 'x', typed_config: { type_url: 'x/y' } }, tcp] }]),
      /filters\[0\]\.typed_config$/,
    ],
    [
      'a connection asked for headers',
      virtualInbound([
        {
          filters: [
            networkRbac({ policies: policies({ permissions: [{ header: { name: 'a', present_match: true } }] }) }),
            tcp,
          ],
        },
      ]),
      /header$/,
    ],
    [
      'a listener filter that nobody knows',
      virtualInbound(chains(undefined, 'DISABLE', tcp), {
        listener_filters: [{ name: 'envoy.filters.listener.proxy_protocol' }],
      }),
      /listener_filters\[0\]/,
    ],
    ['no HTTP filters', withFilters(), /http_filters$/],
    ['no router', withFilters(rbac(anybody)), /http_filters$/],
    ['a router in the middle', withFilters(router, rbac(anybody)), /http_filters\[0\]$/],
    ['a filter that nobody knows', withFilters(unknown('waf'), router), /http_filters\[0\]\.typed_config$/],
    [
      'a filter by name alone',
      withFilters({ name: 'envoy.filters.http.rbac' }, router),
      /http_filters\[0\]\.typed_config$/,
    ],
    [
      'a filter as JSON with a field that nobody reads',
      withFilters(typedStruct('r', rbacType, { rules: { action: 'DENY' }, matcher: {} }), router),
      /typed_config\.matcher$/,
    ],
    [
      'a filter as JSON with a value of another type',
      withFilters(typedStruct('r', rbacType, { rules: { action: 'MAYBE' } }), router),
      /http_filters\[0\]\.typed_config$/,
    ],
    [
      'a name twice, for gRPC',
      grpcInbound(8_080, { filters: [http([rbac(anybody), rbac(anybody), router])] }),
      /http_filters\[1\]\.name$/,
    ],
    ['a condition in CEL', withFilters(rbacWith(3), router), /policies\.condition$/],
    ['a checked condition', withFilters(rbacWith(4), router), /policies\.checked_condition$/],
    ['a field newer than this', withFilters(rbacWith(99), router), /policies\.#99$/],
    ['no permissions', withFilters(rbac({ policies: policies({ permissions: [] }) }), router), /permissions$/],
    ['no principals', withFilters(rbac({ policies: policies({ principals: [] }) }), router), /principals$/],
    ['a permission that says nothing', permission({}), /permissions\[0\]$/],
    ['another kind of permission', permission({ matcher: { name: 'x' } }), /permissions\[0\]$/],
    ['an empty list', permission({ or_rules: {} }), /or_rules\.rules$/],
    ['a pattern within a template', permission(template('/a/{b=c/*}')), /path_template$/],
    ['a template that goes on', permission(template('/**/*')), /path_template$/],
    ['a template in the middle of a segment', permission(template('/a*')), /path_template$/],
    ['no path', permission(template('a')), /path_template$/],
    ['no address', permission({ destination_ip: { address_prefix: 'x' } }), /address_prefix$/],
    [
      'too long a prefix',
      permission({ destination_ip: { address_prefix: '10.0.0.1', prefix_len: 33 } }),
      /prefix_len$/,
    ],
    [
      'half of an address of IPv4 in one of IPv6',
      permission({ destination_ip: { address_prefix: '::ffff:10.0.0.1', prefix_len: 95 } }),
      /prefix_len$/,
    ],
    ['a range of no ports', permission({ destination_port_range: { start: 5, end: 5 } }), /destination_port_range$/],
    [
      'a pattern that is no RE2',
      permission({ url_path: { path: { safe_regex: { regex: '(?=a)' } } } }),
      /safe_regex\.regex$/,
    ],
    ['an empty prefix', permission({ url_path: { path: { prefix: '' } } }), /prefix$/],
    ['a principal that says nothing', principal({}), /principals\[0\]$/],
    ['state that nobody keeps', principal({ filter_state: { key: 'x', string_match: { exact: 'y' } } }), /key$/],
    ['tokens by path', withFilters(tokens({ rules: [{ match: { prefix: '/a' } }] }), router), /rules\[0\]\.match$/],
    ['tokens by two rules', withFilters(tokens({ rules: [everywhere, everywhere] }), router), /rules$/],
    ['a provider that is not there', withFilters(jwt({ provider_name: 'x' }), router), /providers\["x"\]$/],
    [
      'one of two tokens',
      withFilters(
        jwt({ requires_any: { requirements: [{ provider_name: 'a' }, { provider_name: 'b' }] } }, ['a', 'b']),
        router,
      ),
      /requires_any$/,
    ],
    [
      'bad tokens are let pass',
      withFilters(
        jwt({ requires_any: { requirements: [{ provider_name: 'a' }, { allow_missing_or_failed: {} }] } }),
        router,
      ),
      /requirements\[1\]$/,
    ],
    [
      'tokens have to expire',
      withFilters(jwt(optional('a'), ['a'], { require_expiration: true }), router),
      /require_expiration$/,
    ],
    [
      'keys in a file',
      withFilters(jwt(optional('a'), ['a'], { local_jwks: { filename: '/keys' } }), router),
      /local_jwks$/,
    ],
    [
      'an authorizer for some requests',
      withFilters(
        extAuthz({ ...service, filter_enabled: { default_value: { numerator: 50, denominator: 'HUNDRED' } } }),
        router,
      ),
      /filter_enabled$/,
    ],
    [
      'an authorizer that metadata of others asks',
      withFilters(extAuthz({ ...service, filter_enabled_metadata: gate() }), router),
      /filter_enabled_metadata$/,
    ],
    [
      'an authorizer between tokens and policies',
      withFilters(jwt(optional('a')), extAuthz(service), rbac(anybody), router),
      /http_filters$/,
    ],
    ['an authorizer without a cluster', withFilters(extAuthz({}), router), /http_filters\[0\]\.typed_config$/],
    [
      'escaped slashes are refused',
      virtualInbound(chains(1, 'STRICT', http([router], { path_with_escaped_slashes_action: 'REJECT_REQUEST' }))),
      /path_with_escaped_slashes_action$/,
    ],
    [
      'policies for some routes',
      virtualInbound(
        chains(
          1,
          'STRICT',
          http([router], {
            route_config: {
              virtual_hosts: [
                {
                  name: 'a',
                  routes: [
                    {
                      match: { prefix: '/' },
                      typed_per_filter_config: new Map([['r', rbac(anybody).typed_config as Any]]),
                    },
                  ],
                },
              ],
            },
          }),
        ),
      ),
      /routes\[0\]\.typed_per_filter_config\["r"\]$/,
    ],
  ];
  for (const [name, listener, field] of cases) {
    await t.test(name, async (t) => {
      t.match(refusal(listener), { field, code: 'ERR_MESH_CONFIG_INVALID' });
    });
  }
});

t.test('a listener of another name is for what is served if it was asked for, and then has to be usable', async (t) => {
  const named = (filters: readonly Input<HttpFilter>[]): Any =>
    grpcInbound(8_080, { filters: [http(filters)] }, { name: 'mine' });
  const asked = { ...grpc, serverListeners: ['mine'] };
  t.equal(allowed(compiled(named([rbac(anybody), router]), asked)), false);
  t.equal(allowed(compiled(named([router]), asked)), true);
  const plain = grpcInbound(8_080, { filter_chain_match: { server_names: ['a'] }, filters: [tcp] }, { name: 'mine' });
  const { problems, result } = compileInbound(setOf(plain), asked);
  t.match(problems, [{ resource: 'mine', field: 'filter_chains[0].filter_chain_match.server_names' }]);
  t.equal(allowed(result.inbound), false);
  const filtered = compileInbound(setOf(named([unknown('waf'), router])), asked);
  t.match(filtered.problems, [{ resource: 'mine', unenforceable: true }]);
  t.equal(allowed(filtered.result.inbound), false);
});

t.test('settings of one process that two listeners say differently let nobody in', async (t) => {
  const one = grpcInbound(8_080, { filters: [http([router])] });
  const two = grpcInbound(9_090, { filters: [http([router], { normalize_path: false })] });
  const names = [grpcName, grpcName.replace('8080', '9090')];
  const { problems, result } = compileInbound(setOf(one, two), { ...grpc, serverListeners: names });
  t.match(problems, [{ type: 'listeners', resource: names[1], message: /pathNormalization/ }]);
  t.equal(allowed(result.inbound), false);
});

t.test('damaged listeners are refused for what is wrong with them, or decide: nothing crashes', async () => {
  const never = {
    action: 'ALLOW',
    policies: policies({ principals: [{ authenticated: { principal_name: { exact: 'spiffe://other/ns/a/sa/b' } } }] }),
  } as const;
  const good = virtualInbound(chains(undefined, 'PERMISSIVE', http([jwt(optional('a')), rbac(never), router])));
  const bytes = good.value as Uint8Array;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
      fc.nat(bytes.length),
      (edits, cut) => {
        const value = Uint8Array.from(edits.length % 2 === 0 ? bytes : bytes.subarray(0, Math.max(1, cut)));
        for (const [at, byte] of edits) if (at < value.length) value[at] = byte;
        let set: ResourceSet;
        try {
          const any = { ...good, value };
          readListener(any);
          set = setOf(any);
        } catch (error) {
          return error instanceof Error && (error as { readonly code?: unknown }).code === 'ERR_MESH_CONFIG_INVALID';
        }
        const { inbound } = compileInbound(set, istio).result;
        for (const what of ['requests', 'connections'] as const) allowed(inbound, {}, what);
        return true;
      },
    ),
    { numRuns: 2_000, seed: 7 },
  );
});

t.test(
  'routes of inbound listeners: faults, CORS and times are done, where the filters for them are there',
  async (t) => {
    const faultFilter: Input<HttpFilter> = {
      name: 'envoy.filters.http.fault',
      typed_config: pack(httpFaultSchema, {
        abort: { http_status: 503, percentage: { numerator: 10, denominator: 'HUNDRED' } },
      }),
    };
    const corsFilter: Input<HttpFilter> = {
      name: 'envoy.filters.http.cors',
      typed_config: {
        type_url: 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors',
        value: new Uint8Array(),
      },
    };
    const routeConfig = {
      name: 'r',
      virtual_hosts: [
        {
          name: 'web',
          domains: ['Web.example'],
          routes: [
            {
              name: 'one',
              match: { prefix: '/' },
              route: { cluster: 'inbound|8080||', timeout: 700 },
              typed_per_filter_config: new Map([
                [
                  'envoy.filters.http.cors',
                  pack(corsPolicySchema, { allow_methods: 'GET', allow_origin_string_match: [{ exact: 'https://a' }] }),
                ],
              ]),
            },
            { name: 'two', match: { path: '/x' }, route: { cluster: 'inbound|8080||', timeout: 0 } },
          ],
        },
      ],
    } as never;
    const listener = (filters: readonly Input<HttpFilter>[], more = {}) =>
      virtualInbound(chains(8_080, 'PERMISSIVE', http([...filters, router], { route_config: routeConfig, ...more })));
    const told = (any: Any, routes: ResourceSet['routes'] = new Map()) => {
      const { entries, result } = compileInbound({ ...setOf(any), routes }, istio);
      return {
        routes: result.inbound.routes,
        fields: entries.map(({ field, status }) => `${status} ${field.replace(/^.*typed_config\./, '')}`),
      };
    };
    const both = told(listener([faultFilter, corsFilter]));
    const fault = { level: 'call', abort: { status: 503, percent: 10 } };
    t.match(both.routes, [
      {
        scope: { ports: [8_080] },
        fault,
        hosts: [
          {
            domains: ['web.example'],
            virtualHost: {
              routes: [
                { name: 'one', fault, timeoutMs: 700, cors: { allowMethods: ['GET'] } },
                { name: 'two', fault },
              ],
            },
          },
        ],
      },
    ]);
    t.notOk('timeoutMs' in (both.routes?.[0]?.hosts[0]?.virtualHost.routes[1] ?? {}));
    t.strictSame(
      both.fields.filter((field) => /fault|cors|timeout|per_filter/.test(field)),
      ['approximated route_config.virtual_hosts[].routes[].route.timeout'],
    );
    const plain = told(listener([]));
    t.strictSame(Object.keys(plain.routes?.[0]?.hosts[0]?.virtualHost.routes[0] ?? {}).sort(), [
      'destinations',
      'matches',
      'name',
      'provenance',
      'timeoutMs',
    ]);
    const resources = new Map([['r', pack(routeConfigurationSchema, routeConfig)]]);
    const named = listener([corsFilter], {
      route_config: undefined,
      rds: { route_config_name: 'r', config_source: { ads: {} } },
    });
    t.match(told(named, resources).routes, [
      { hosts: [{ virtualHost: { routes: [{ cors: { allowMethods: ['GET'] } }, {}] } }] },
    ]);
    t.equal(told(named).routes, undefined, 'routes that are not there');
    t.equal(told(listener([corsFilter], { route_config: { name: 'r' } })).routes, undefined, 'routes that say nothing');
    const broken = { name: 'r', virtual_hosts: [{ name: 'web', domains: ['a*b'], routes: [] }] };
    const unread = told(listener([], { route_config: broken }));
    t.equal(unread.routes, undefined, 'they let nobody in: what cannot be read is missed');
    const ofRoutes = (fields: readonly string[]) => fields.filter((field) => /virtual_hosts/.test(field));
    t.strictSame(ofRoutes(unread.fields), ['ignored route_config.virtual_hosts[0].domains[0]'], 'and told of');
    const apart = new Map([['r', pack(routeConfigurationSchema, broken as never)]]);
    t.strictSame(ofRoutes(told(named, apart).fields), ['ignored virtual_hosts[0].domains[0]']);
    const partly = pack(httpFaultSchema, {
      abort: { http_status: 503 },
      headers: [{ name: 'x', present_match: true }],
    });
    const vain = {
      name: 'r',
      virtual_hosts: [
        {
          name: 'web',
          domains: ['*'],
          routes: [],
          typed_per_filter_config: new Map([['envoy.filters.http.fault', partly]]),
        },
      ],
    };
    t.match(ofRoutes(told(listener([faultFilter], { route_config: vain })).fields).join(), /per_filter_config.*fault/);
  },
);
