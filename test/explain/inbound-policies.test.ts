import t from 'tap';
import { createExplainer, type ExplainContext } from '../../src/explain/explainer.ts';
import type { ExplainRequest } from '../../src/explain/request.ts';
import type { InboundExplanation } from '../../src/explain/result.ts';
import { describeExplanation } from '../../src/explain/text.ts';
import type { AuthorizationPolicy } from '../../src/model/authorization.ts';
import type { ExternalAuthorizer } from '../../src/model/external-authorizer.ts';
import { good, resourceYaml, web } from '../config/support.ts';
import { jwksOf, makeToken, makeTokenKey } from '../support/tokens.ts';

const issuer = 'https://issuer.example';
const key = makeTokenKey('ES256', { kid: 'k1', alg: 'ES256' });
const jwks = JSON.parse(jwksOf(key)) as object;
const nowMs = Date.UTC(2030, 0, 1, 12);
const seconds = nowMs / 1_000;
const token = (claims: object = {}, by = key): string =>
  makeToken({
    key: by,
    alg: 'ES256',
    claims: { iss: issuer, sub: 'alice', aud: 'shop', exp: seconds + 60, groups: ['staff', 'testers'], ...claims },
  });
const bearer = (claims?: object): Record<string, string> => ({ authorization: `Bearer ${token(claims)}` });
const uri = `${issuer}/jwks`;
const remote = { [uri]: { status: 200, body: jwks } };

const authentication = (rule: string): string =>
  `apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: tokens, namespace: shop}\nspec: {jwtRules: [${rule}]}\n`;
const byUri = authentication(`{issuer: "${issuer}", jwksUri: "${uri}", audiences: [shop]}`);
const policy = (name: string, spec: string, annotations = ''): string =>
  resourceYaml('AuthorizationPolicy', name, spec).replace('namespace: shop}', `namespace: shop${annotations}}`);
const dryRun = ', annotations: {istio.io/dry-run: "true"}';
const orders = { principal: 'cluster.local/ns/shop/sa/orders', ip: '10.0.0.7' };

interface Row {
  readonly what: string;
  readonly yaml: string | readonly string[];
  readonly request: ExplainRequest;
  readonly context?: Partial<ExplainContext>;
  readonly says: { readonly [K in keyof InboundExplanation]?: unknown };
}

const groups = policy('staff', '{rules: [{when: [{key: "request.auth.claims[groups]", values: [staff]}]}]}');
const header = policy('role', '{rules: [{when: [{key: "request.headers[x-role]", values: [admin]}]}]}');
const denyAdmin = policy('deny-admin', '{action: DENY, rules: [{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]}');
const rows: readonly Row[] = [
  {
    what: 'a good token in the default header is verified with keys by URL, and taken away',
    yaml: [byUri, groups],
    request: { headers: { ...bearer(), accept: '*/*' } },
    says: {
      decision: 'allow',
      status: 200,
      policy: 'shop/staff',
      requestPrincipal: `${issuer}/alice`,
      requestHeaders: { accept: '*/*' },
    },
  },
  {
    what: 'a good token in the query is taken out of it',
    yaml: [byUri, groups],
    request: { path: `/x?a=1&access_token=${token()}&b=2` },
    says: { decision: 'allow', path: '/x', url: '/x?a=1&b=2' },
  },
  {
    what: 'a good token in a cookie',
    yaml: [authentication(`{issuer: "${issuer}", jwksUri: "${uri}", fromCookies: [session]}`), groups],
    request: { headers: { cookie: `a=1; session=${token()}` } },
    says: { decision: 'allow', requestHeaders: { cookie: 'a=1' } },
  },
  {
    what: 'a token that is handed on, and the headers that tell of its claims',
    yaml: authentication(
      `{issuer: "${issuer}", jwksUri: "${uri}", forwardOriginalToken: true, outputClaimToHeaders: [{header: x-sub, claim: sub}]}`,
    ),
    request: { headers: { ...bearer(), 'x-sub': 'forged' } },
    says: { decision: 'allow', requestHeaders: { authorization: /^Bearer /, 'x-sub': 'alice' } },
  },
  {
    what: 'a header for claims of a caller without a token is removed',
    yaml: authentication(
      `{issuer: "${issuer}", jwksUri: "${uri}", outputClaimToHeaders: [{header: x-sub, claim: sub}]}`,
    ),
    request: { headers: { 'x-sub': 'forged', 'x-other': '1' } },
    says: { decision: 'allow', requestHeaders: { 'x-other': '1' } },
  },
  {
    what: 'no token passes, and meets policies without claims',
    yaml: [byUri, groups],
    request: {},
    says: {
      decision: 'deny',
      status: 403,
      detail: 'rbac_access_denied_matched_policy[none]',
      passedOver: [
        {
          rule: 'AuthorizationPolicy shop/staff rules[0]',
          reasons: ['when[0] request.auth.claims[groups]: a request without a verified token is not among "staff"'],
        },
      ],
    },
  },
  {
    what: 'an expired token, by the time of the request',
    yaml: byUri,
    request: { headers: bearer({ exp: seconds - 61 }) },
    says: {
      decision: 'unauthenticated',
      status: 401,
      reason: 'Jwt is expired',
      detail: 'jwt_authn_access_denied{Jwt_is_expired}',
    },
  },
  {
    what: 'the same token at another time',
    yaml: byUri,
    request: { headers: bearer({ exp: seconds - 61 }), nowMs: nowMs - 60_000 },
    says: { decision: 'allow', status: 200 },
  },
  {
    what: 'a token that does not expire, where all have to',
    yaml: byUri,
    request: { headers: bearer({ exp: undefined }) },
    context: { tokenExpiry: 'required' },
    says: { decision: 'unauthenticated', status: 401 },
  },
  {
    what: 'a token for somebody else',
    yaml: byUri,
    request: { headers: bearer({ aud: 'bank' }) },
    says: { decision: 'deny', status: 403, reason: 'Audiences in Jwt are not allowed' },
  },
  {
    what: 'a token of a stranger with the kid of a known key',
    yaml: byUri,
    request: { headers: { authorization: `Bearer ${token({}, makeTokenKey('ES256'))}` } },
    says: { decision: 'unauthenticated', status: 401, reason: /Jwt verification fails/ },
  },
  {
    what: 'a token that is none',
    yaml: byUri,
    request: { headers: { authorization: 'Bearer nonsense' } },
    says: { decision: 'unauthenticated', status: 401 },
  },
  {
    what: 'keys that nobody gave',
    yaml: byUri,
    request: { headers: bearer() },
    context: { remote: {} },
    says: {
      decision: 'unauthenticated',
      status: 401,
      reason: /Jwks remote fetch is failed/,
      notes: [`config.remote has no ${uri}`],
    },
  },
  {
    what: 'a server of keys that fails',
    yaml: byUri,
    request: { headers: bearer() },
    context: { remote: { [uri]: { status: 503 } } },
    says: { decision: 'unauthenticated', notes: [`config.remote answers 503 for ${uri}`] },
  },
  {
    what: 'an issuer that is asked where its keys are',
    yaml: [authentication(`{issuer: "${issuer}"}`), groups],
    request: { headers: bearer() },
    context: {
      remote: {
        [`${issuer}/.well-known/openid-configuration`]: { body: { issuer, jwks_uri: `${issuer}/keys` } },
        [`${issuer}/keys`]: { body: JSON.stringify(jwks) },
      },
    },
    says: { decision: 'allow', policy: 'shop/staff' },
  },
  {
    what: 'a CORS preflight has no token, and needs none',
    yaml: byUri,
    request: {
      method: 'OPTIONS',
      headers: { origin: 'https://a', 'access-control-request-method': 'GET', authorization: 'Bearer x' },
    },
    says: { decision: 'allow', notes: [/preflight/] },
  },
  {
    what: 'claims that are given count where no token does',
    yaml: groups,
    request: { claims: { iss: issuer, sub: 'bob', groups: 'staff' } },
    says: { decision: 'allow', requestPrincipal: `${issuer}/bob` },
  },
  {
    what: 'a rule of a DENY policy, in the words of Envoy',
    yaml: denyAdmin,
    request: { path: '/x/../admin?y', from: orders },
    says: {
      decision: 'deny',
      status: 403,
      policy: 'shop/deny-admin',
      rule: 0,
      path: '/admin',
      detail: 'rbac_access_denied_matched_policy[ns[shop]-policy[deny-admin]-rule[0]]',
      reason: /^rbac_access_denied_matched_policy\[ns\[shop\]-policy\[deny-admin\]-rule\[0\]\]: /,
    },
  },
  {
    what: 'every condition that does not hold, by field and value',
    yaml: policy(
      'strict',
      '{rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/web"], notNamespaces: [shop], ipBlocks: ["10.1.0.0/16"]}}], to: [{operation: {methods: [GET], paths: ["/a/*"], hosts: [web], ports: ["8080"]}}], when: [{key: "request.headers[x-role]", values: [admin]}, {key: connection.sni, values: [a.b]}]}]}',
    ),
    request: { method: 'POST', path: '/b', authority: 'other', from: orders, headers: { 'x-role': 'guest' } },
    says: {
      decision: 'deny',
      passedOver: [
        {
          reasons: [
            'from[0].source.principals: "cluster.local/ns/shop/sa/orders" is not among "cluster.local/ns/shop/sa/web"',
            'from[0].source.notNamespaces: "shop" is among "shop"',
            'from[0].source.ipBlocks: 10.0.0.7 is not among 10.1.0.0/16',
            'to[0].operation.methods: "POST" is not among "GET"',
            'to[0].operation.paths: "/b" is not among "/a/*"',
            'to[0].operation.hosts: "other" is not among "web"',
            'to[0].operation.ports: 80 is not among 8080',
            'when[0] request.headers[x-role]: "guest" is not among "admin"',
            'when[1] connection.sni: no server name is not among "a.b"',
          ],
        },
      ],
    },
  },
  {
    what: 'the alternatives of a rule when none holds, and nothing of those that do',
    yaml: policy(
      'two',
      '{rules: [{from: [{source: {namespaces: [a]}}, {source: {namespaces: [shop]}}], to: [{operation: {methods: [PUT]}}, {operation: {methods: [POST]}}]}]}',
    ),
    request: { from: orders },
    says: {
      passedOver: [
        {
          reasons: [
            'to[0].operation.methods: "GET" is not among "PUT"',
            'to[1].operation.methods: "GET" is not among "POST"',
          ],
        },
      ],
    },
  },
  {
    what: 'a policy without rules',
    yaml: policy('nothing', '{}'),
    request: {},
    says: {
      decision: 'deny',
      passedOver: [{ rule: 'AuthorizationPolicy shop/nothing', reasons: ['has no rules, so it matches nothing'] }],
    },
  },
  {
    what: 'a value of a secret header is not repeated',
    yaml: policy('secret', '{rules: [{when: [{key: "request.headers[x-api-key]", values: [right]}]}]}'),
    request: { headers: { 'x-api-key': 'guessed' } },
    says: { passedOver: [{ reasons: ['when[0] request.headers[x-api-key]: its value is not among "right"'] }] },
  },
  {
    what: 'one value of a header',
    yaml: header,
    request: { headers: { 'X-Role': 'admin' } },
    says: { decision: 'allow' },
  },
  {
    what: 'two values of a header, of which one is not right',
    yaml: header,
    request: {
      headers: [
        ['x-role', 'admin'],
        ['x-role', 'guest'],
      ],
    },
    says: { decision: 'deny', passedOver: [{ reasons: [/"admin" and "guest" is not among "admin"/] }] },
  },
  {
    what: 'an address block, and the caller behind a trusted proxy',
    yaml: [
      policy('net', '{rules: [{from: [{source: {remoteIpBlocks: ["192.0.2.0/24"]}}]}]}'),
      '{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}}}',
    ],
    request: { from: { ip: '10.0.0.1' }, headers: { 'x-forwarded-for': '203.0.113.9, 192.0.2.4' } },
    says: { decision: 'allow' },
  },
  {
    what: 'headers that only the mesh may set are removed, and the caller is told of',
    yaml: '',
    request: {
      from: orders,
      headers: {
        'x-forwarded-client-cert': 'By=spiffe://x;URI=spiffe://forged',
        'x-envoy-internal': 'true',
        'x-a': 'ü',
      },
    },
    says: {
      decision: 'allow',
      requestHeaders: {
        'x-a': 'ü',
        'x-forwarded-client-cert':
          /^By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web;Hash=.*;URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/orders$/,
      },
    },
  },
  {
    what: 'of a stranger nothing is said',
    yaml: '',
    request: { headers: { 'x-forwarded-client-cert': 'By=spiffe://x;URI=spiffe://forged', a: '1' } },
    says: { decision: 'allow', requestHeaders: { a: '1' } },
  },
  {
    what: 'what an AUDIT policy finds, and what a dry run would do',
    yaml: [
      policy('watch', '{action: AUDIT, rules: [{to: [{operation: {methods: [GET]}}]}]}'),
      policy('soon', '{action: DENY, rules: [{to: [{operation: {paths: ["/old"]}}]}]}', dryRun),
      policy('later', '{rules: [{to: [{operation: {paths: ["/new"]}}]}]}', dryRun),
    ],
    request: { path: '/old' },
    says: {
      decision: 'allow',
      audit: { policy: 'shop/watch', rule: 0 },
      shadow: [
        { action: 'DENY', result: 'denied', matched: 'ns[shop]-policy[soon]-rule[0]' },
        { action: 'ALLOW', result: 'denied', matched: 'none' },
      ],
    },
  },
  ...(
    [
      [{ headers: { 'a b': 'c' } }, 400],
      [{ headers: { a: 'b\r\nc: d' } }, 400],
      [{ headers: Array.from({ length: 101 }, (_, i) => [`h${i}`, ''] as const) }, 431],
      [{ headers: { 'transfer-encoding': 'gzip' } }, 400],
      [
        {
          headers: [
            ['host', 'a'],
            ['host', 'b'],
          ],
        },
        400,
      ],
      [{ authority: 'web', headers: { host: 'other' } }, 400],
    ] as readonly (readonly [ExplainRequest, number])[]
  ).map(
    ([request, status]): Row => ({
      what: `a request that is malformed: ${JSON.stringify(request).slice(0, 60)}`,
      yaml: '',
      request,
      says: { decision: 'reject', status, requestHeaders: undefined },
    }),
  ),
  {
    what: 'two hosts, after policy',
    yaml: policy('no', '{}'),
    request: { authority: 'web', headers: { host: 'other' } },
    says: { decision: 'deny' },
  },
];

for (const { context, request, says, what, yaml } of rows) {
  t.test(what, async (t) => {
    const { snapshot } = good(yaml);
    const said = await createExplainer({ snapshot, workload: web, remote, ...context }).inbound({ nowMs, ...request });
    t.match(said, says);
    if (says.requestHeaders !== undefined) {
      t.same(Object.keys(said.requestHeaders ?? {}).sort(), Object.keys(says.requestHeaders as object).sort());
    }
    const everything = JSON.stringify({ ...said, requestHeaders: {} }) + describeExplanation(said);
    for (const part of [...(JSON.stringify(request).match(/eyJ[\w-]+\.[\w-]+\.([\w-]+)/) ?? [])].slice(1)) {
      t.notMatch(everything, part, 'no signature of a token is repeated');
    }
  });
}

t.test('the explanation for people names what decided, what was tried, and hides secrets', async (t) => {
  const { snapshot } = good([byUri, groups, policy('soon', '{action: DENY, rules: [{}]}', dryRun)]);
  const explainer = createExplainer({ snapshot, workload: web, remote });
  const allowed = await explainer.inbound({ nowMs, headers: { ...bearer(), cookie: 'a=secret', 'x-a': '1' } });
  t.match(
    describeExplanation(allowed),
    /^allow 200\n {2}because +a rule of an ALLOW policy matches\n {2}policy +AuthorizationPolicy shop\/staff rules\[0\] \(.*\)\n(.*\n)* {2}token of +https:\/\/issuer\.example\/alice\n {2}dry run +DENY: denied \(ns\[shop\]-policy\[soon\]-rule\[0\]\)\n(.*\n)* {2}header +cookie: …\n {2}header +x-a: 1/,
  );
  const denied = await explainer.inbound({ nowMs });
  t.match(
    describeExplanation(denied),
    /^deny 403\n(.*\n)* {2}no match +AuthorizationPolicy shop\/staff rules\[0\] .*\n {15}when\[0\] request\.auth/,
  );
});

t.test('a CUSTOM policy asks nobody: the answer of its provider is given, or not known', async (t) => {
  const ask: AuthorizationPolicy = {
    action: 'CUSTOM',
    provider: 'opa',
    rules: [{ from: [], to: [{ paths: [{ kind: 'exact', value: '/ask' }] }] }],
    provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'ask' },
  };
  const { snapshot: plain } = good(byUri);
  const opa: ExternalAuthorizer = {
    name: 'opa',
    service: 'opa.shop.svc.cluster.local:80',
    timeoutMs: 1_000,
    failOpen: false,
    statusOnError: 403,
    protocol: {
      kind: 'http',
      pathPrefix: '',
      requestHeaders: [],
      addedHeaders: [],
      toUpstreamOnAllow: [{ kind: 'exact', value: 'x-user' }],
      toDownstreamOnAllow: [],
      toDownstreamOnDeny: [],
    },
    provenance: ask.provenance,
  };
  const snapshot = { ...plain, inbound: { ...plain.inbound, authorization: [ask], authorizers: [opa] } };
  const explain = (status: number | undefined, request: ExplainRequest): Promise<InboundExplanation> => {
    const answers =
      status === undefined ? remote : { ...remote, opa: { status, headers: { 'X-User': 'alice', 'x-more': '1' } } };
    return createExplainer({ snapshot, workload: web, remote: answers }).inbound({ nowMs, ...request });
  };
  const by = { provider: 'opa', policy: 'shop/ask', rule: 0 };
  t.match(await explain(undefined, { path: '/ask' }), {
    decision: 'allow',
    custom: { ...by, outcome: 'unknown' },
    notes: [
      /^the provider opa would be asked \(istio-ext-authz-opa-ns\[shop\]-policy\[ask\]-rule\[0\]\); taken as allowed/,
    ],
  });
  t.match(await explain(200, { path: '/ask' }), {
    decision: 'allow',
    custom: { ...by, outcome: 'allowed' },
    requestHeaders: { 'x-user': 'alice', 'x-more': undefined },
  });
  t.match(await explain(503, { path: '/ask' }), { decision: 'deny', status: 403, reason: /fails with 503/ });
  const denied = await explain(403, { path: '/ask', headers: { authorization: 'Bearer nonsense' } });
  t.match(denied, { decision: 'deny', status: 403, detail: 'ext_authz_denied', policy: 'shop/ask' });
  t.match(denied.custom, { outcome: 'denied' }, 'tokens are not looked at before');
  t.match(describeExplanation(denied), /asked +opa by shop\/ask rules\[0\]: denied/);
  t.match(await explain(401, { path: '/ask' }), { decision: 'unauthenticated', status: 401 });
  t.equal((await explain(403, { path: '/' })).custom, undefined);
  const two = { ...snapshot, inbound: { ...snapshot.inbound, authorization: [ask, { ...ask, provider: 'other' }] } };
  const both = await createExplainer({ snapshot: two, workload: web }).inbound({ path: '/ask' });
  t.match(both, { decision: 'deny', status: 403, reason: /opa, other/ });
  const nobody = { ...snapshot, inbound: { ...snapshot.inbound, authorizers: [] } };
  const unasked = await createExplainer({ snapshot: nobody, workload: web }).inbound({ path: '/ask' });
  t.match(unasked, { decision: 'deny', status: 403, reason: /there is no extension provider "opa"/ });
});
