// What a real istiod tells sidecars about callers, and the same resources compiled from YAML: one decision.
import { generateKeyPairSync } from 'node:crypto';
import { createExplainer, type ExplainRequest } from 'inmesh/explain';
import type { Snapshot } from 'inmesh/model';
import t from 'tap';
import { startTwin, workload } from './twin.ts';

const jwk = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey.export({ format: 'jwk' });
const jwks = JSON.stringify({ keys: [{ ...jwk, kid: 'one', alg: 'RS256', use: 'sig' }] });

const web = { principal: 'cluster.local/ns/shop/sa/web', ip: '10.0.0.5' };
const other = { principal: 'cluster.local/ns/elsewhere/sa/web', ip: '10.0.1.5' };

/** Requests that each case asks about: callers of all sorts, and none. */
const callers: readonly ExplainRequest[] = [
  { url: 'http://cart/', from: web },
  { url: 'http://cart/', from: other },
  { url: 'http://cart/', from: { ip: '10.0.0.5' } },
  { url: 'http://cart/admin/x', from: web },
  { url: 'http://cart/admin', method: 'POST', from: web, headers: { 'x-team': 'a' } },
  { url: 'http://CART.shop:8080/Admin//x/', from: web, headers: { 'x-team': 'b' } },
  { url: 'http://cart/', from: web, claims: { iss: 'https://issuer.test', sub: 'me', role: ['a', 'admin'] } },
  { url: 'http://cart/', from: other, claims: { iss: 'https://issuer.test', sub: 'you', role: 'guest' } },
  { protocol: 'tcp', port: 8_080, from: web },
];

/** Resources under which both must decide alike. */
const cases: Readonly<Record<string, string>> = {
  'no policy': '',
  'mutual TLS for the namespace': `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
`,
  'mutual TLS but not on one port': `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: cart, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, mtls: { mode: STRICT }, portLevelMtls: { 8080: { mode: PERMISSIVE } } }
`,
  'nobody may': `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: nobody, namespace: shop }
spec: {}
`,
  'one service account, but not to the administration': `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: admin, namespace: shop }
spec:
  action: DENY
  rules:
  - to: [{ operation: { paths: [/admin*], methods: [POST] } }]
    when: [{ key: 'request.headers[x-team]', notValues: [b] }]
`,
  'a namespace, by prefix and suffix': `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: from, namespace: shop }
spec:
  rules:
  - from: [{ source: { namespaces: [elsewhere], notPrincipals: ['*/sa/db'] } }]
  - to: [{ operation: { paths: ['*/x'], ports: ['8080'] } }]
`,
  addresses: `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: net, namespace: shop }
spec: { action: DENY, rules: [{ from: [{ source: { ipBlocks: [10.0.0.0/24] } }] }] }
`,
  'hosts and templates': `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: hosts, namespace: shop }
spec: { action: DENY, rules: [{ to: [{ operation: { hosts: [cart.shop], paths: ['/admin/{**}'] } }] }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: paths, namespace: shop }
spec: { rules: [{ to: [{ operation: { paths: ['/{*}/x', '/'], hosts: ['cart*'] } }] }] }
`,
  'tried out and looked at': `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: try, namespace: shop, annotations: { istio.io/dry-run: 'true' } }
spec: { action: DENY, rules: [{}] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: look, namespace: shop }
spec: { action: AUDIT, rules: [{ to: [{ operation: { methods: [GET] } }] }] }
`,
  'claims and principals of tokens': `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: shop }
spec:
  jwtRules: [{ issuer: https://issuer.test, jwks: '${jwks}' }, { issuer: https://other.test, jwks: '${jwks}' }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: claims, namespace: shop }
spec:
  rules:
  - from: [{ source: { requestPrincipals: ['https://issuer.test/*'] } }]
    when: [{ key: 'request.auth.claims[role]', values: [admin] }]
`,
  'tokens are demanded': `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: shop }
spec:
  jwtRules: [{ issuer: https://issuer.test, jwks: '${jwks}' }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: jwt, namespace: shop }
spec: { action: DENY, rules: [{ from: [{ source: { notRequestPrincipals: ['*'] } }] }] }
`,
};

/** The decision, and which policy made it; what is said of connections is said in other words. */
async function decidedBy(snapshot: Snapshot, request: ExplainRequest): Promise<object> {
  const explainer = createExplainer({ workload, snapshot });
  const { audit, decision, detail, policy, rule, shadow, status } = await explainer.inbound({
    to: { port: 8_080 },
    ...request,
  });
  // Modes of mTLS are those of a listener there, and of a PeerAuthentication here.
  return request.protocol === 'tcp' || decision === 'reject'
    ? { decision }
    : { audit, decision, detail, policy, rule, shadow, status };
}

t.test('requests are decided alike by what istiod sends and by the YAML that it has', async (t) => {
  const twin = await startTwin(t);
  if ('why' in twin) {
    t.comment(`skipped, there is no peer here: ${twin.why}`);
    return;
  }
  for (const [name, yaml] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const both = await twin.both(yaml);
      for (const request of callers) {
        t.same(await decidedBy(both.xds, request), await decidedBy(both.yaml, request), JSON.stringify(request));
      }
      const modeOf = ({ inbound: { mtls } }: typeof both.xds): string => mtls.ports.get(8_080) ?? mtls.mode;
      t.equal(modeOf(both.xds), modeOf(both.yaml), 'who must prove an identity');
    });
  }
  t.same(twin.problems, [], 'nothing that istiod sends is refused');
});

t.test('what TLS callers may speak is what MeshConfig says to both', async (t) => {
  const twin = await startTwin(t);
  if ('why' in twin) {
    t.comment(`skipped, there is no peer here: ${twin.why}`);
    return;
  }
  const spoken = ({ inbound: { tls } }: Snapshot) => tls?.ports.get(8_080) ?? tls?.others ?? {};
  const one = 'ECDHE-RSA-AES128-GCM-SHA256';
  for (const mesh of [
    '',
    'meshMTLS: { minProtocolVersion: TLSV1_3 }',
    `meshMTLS: { cipherSuites: [${one}, AES128-SHA] }`,
  ]) {
    const both = await twin.both('', mesh);
    const [ours, theirs] = [spoken(both.yaml), spoken(both.xds)];
    t.equal(theirs.minVersion, ours.minVersion, mesh);
    if (ours.cipherSuites !== undefined) t.same(theirs.cipherSuites, ours.cipherSuites, mesh);
    else
      t.ok(
        (theirs.cipherSuites ?? []).every((suite) => /^ECDHE-(ECDSA|RSA)-AES(128|256)-GCM-SHA(256|384)$/.test(suite)),
        mesh,
      );
  }
  t.same(twin.problems, [], 'nothing that istiod sends is refused');
});
