import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { shopWeb } from '../support/inbound.ts';

const services = `
apiVersion: v1
kind: Service
metadata: {name: authz, namespace: infra}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 8000}, {name: grpc, port: 9000}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: a}
spec: {hosts: [twice.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, exportTo: ["."]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: shop}
spec: {hosts: [twice.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
`;

const host = 'authz.infra.svc.cluster.local';

const mesh = (providers: string): string => `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders: ${providers}
`;

const policy = (provider: string, name = 'ask', more = ''): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop${more}}
spec: {action: CUSTOM, provider: {name: ${provider}}, rules: [{to: [{operation: {paths: [/ask]}}]}]}
`;

const compiled = (...parts: string[]) =>
  compile(parseYaml([services, ...parts].join('---')).documents, { workload: shopWeb });

function inbound(...parts: string[]) {
  const result = compiled(...parts);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const notes = result.report.entries
    .filter(({ field }) => field === 'spec.provider.name')
    .flatMap(({ note }) => note ?? []);
  return { ...result.snapshot.inbound, notes };
}

t.test('every field of an HTTP provider', async (t) => {
  const { authorization, authorizers, notes } = inbound(
    policy('ask-http'),
    mesh(`[{name: ask-http, envoyExtAuthzHttp: {service: infra/${host}, port: 8000, timeout: 250ms, failOpen: true,
      clearRouteCache: true, statusOnError: "503", pathPrefix: /check, includeRequestHeadersInCheck: [X-Id, "X-A*", "*-B"],
      includeHeadersInCheck: [x-old], includeAdditionalHeadersInCheck: {x-b: "2", x-a: "1"},
      includeRequestBodyInCheck: {maxRequestBytes: 100, allowPartialMessage: true, packAsBytes: true},
      headersToUpstreamOnAllow: [x-user], headersToDownstreamOnAllow: [x-told], headersToDownstreamOnDeny: [x-why]}}]`),
  );
  t.match(authorization, [{ action: 'CUSTOM', provider: 'ask-http' }]);
  t.same(notes, []);
  const exact = (value: string) => ({ kind: 'exact', value });
  t.match(authorizers, [
    {
      name: 'ask-http',
      service: `${host}:8000`,
      timeoutMs: 250,
      failOpen: true,
      statusOnError: 503,
      body: { maxBytes: 100, allowPartial: true, asBytes: true },
      protocol: {
        kind: 'http',
        pathPrefix: '/check',
        requestHeaders: [exact('x-id'), { kind: 'prefix', value: 'x-a' }, { kind: 'suffix', value: '-b' }],
        addedHeaders: [
          ['x-a', '1'],
          ['x-b', '2'],
        ],
        toUpstreamOnAllow: [exact('x-user')],
        toDownstreamOnAllow: [exact('x-told')],
        toDownstreamOnDeny: [exact('x-why')],
      },
    },
  ]);
  t.notOk('port' in (authorizers?.[0] ?? {}));
});

t.test(
  "Istio's defaults, the deprecated list of headers, other kinds of providers, names of the protobuf",
  async (t) => {
    const { authorizers } = inbound(
      policy('ask-grpc'),
      mesh(
        `[{name: Tracing_1, zipkin: {service: z, port: 1}}, {name: ask-grpc, envoy_ext_authz_grpc: {service: ${host}, port: 9000}}]`,
      ),
    );
    t.match(authorizers, [
      { service: `${host}:9000`, timeoutMs: 600_000, failOpen: false, statusOnError: 403, protocol: { kind: 'grpc' } },
    ]);
    t.notOk('body' in (authorizers?.[0] ?? {}));
    const old = inbound(
      policy('p'),
      mesh(`[{name: p, envoyExtAuthzHttp: {service: ${host}, port: 8000, includeHeadersInCheck: [x-old]}}]`),
    );
    t.match(old.authorizers, [{ protocol: { requestHeaders: [{ kind: 'exact', value: 'x-old' }] } }]);
    t.notOk(
      'authorizers' in inbound(mesh(`[{name: p, envoyExtAuthzGrpc: {service: ${host}, port: 9000}}]`)),
      'nobody names it',
    );
  },
);

const provider = (name: string, service = host, port = 9000): string =>
  `{name: ${name}, envoyExtAuthzGrpc: {service: ${service}, port: ${port}}}`;
const refusing: Record<string, readonly [string, string, RegExp]> = {
  'is nowhere': [policy('nobody'), mesh(`[${provider('p')}]`), /no extension provider nobody that authorizes/],
  'does not authorize': [
    policy('z'),
    mesh('[{name: z, zipkin: {service: z.example, port: 1}}]'),
    /no extension provider z that authorizes/,
  ],
  'has a service that is nowhere': [
    policy('p'),
    mesh(`[${provider('p', 'nowhere.example')}]`),
    /is not one that this process can call/,
  ],
  'has a service in another namespace': [
    policy('p'),
    mesh(`[${provider('p', `other/${host}`)}]`),
    /is not one that this process can call/,
  ],
  'has a service in two namespaces': [
    policy('p'),
    mesh(`[${provider('p', 'twice.example', 80)}]`),
    /is not one that this process can call/,
  ],
  'has a port that the service has not': [
    policy('p'),
    mesh(`[${provider('p', host, 9001)}]`),
    /is not one that this process can call/,
  ],
  'is one of several': [
    `${policy('p')}---${policy('q', 'other')}`,
    mesh(`[${provider('p')}, ${provider('q')}]`),
    /name p and q; as in Istio they may name one/,
  ],
};
for (const [name, [asking, known, why]] of Object.entries(refusing)) {
  t.test(`a provider that ${name}: the policy stays, and the report says what is refused`, async (t) => {
    const { authorization, authorizers = [], notes } = inbound(asking, known);
    t.match(authorization[0], { action: 'CUSTOM' });
    t.match(notes[0], why);
    t.match(notes[0], /every request that this policy is for is refused/);
    if (authorization.length === 1) t.notOk(authorizers.some(({ service }) => service !== undefined));
  });
}

t.test('a namespace chooses among services of one name', async (t) => {
  t.match(inbound(policy('p'), mesh(`[${provider('p', 'shop/twice.example', 80)}]`)).authorizers, [
    { service: 'twice.example:80' },
  ]);
});

const http = (fields: string): string =>
  mesh(`[{name: p, envoyExtAuthzHttp: {service: ${host}, port: 8000, ${fields}}}]`);
const wrong: Record<string, readonly [string, RegExp]> = {
  'a name of other characters': [mesh(`[${provider('Big_One')}]`), /name: must be small letters, digits and -/],
  'a name that is there twice': [mesh(`[${provider('p')}, ${provider('p')}]`), /\[1\]\.name: is there twice/],
  'no service': [mesh('[{name: p, envoyExtAuthzHttp: {port: 80}}]'), /service/],
  'a service that is no host': [mesh(`[${provider('p', '"a b"')}]`), /must be the host of a service/],
  'a service with a wildcard': [mesh(`[${provider('p', '"*.example.com"')}]`), /must be the host of a service/],
  'no port': [mesh(`[{name: p, envoyExtAuthzHttp: {service: ${host}}}]`), /port/],
  'port 0': [mesh(`[${provider('p', host, 0)}]`), /port/],
  'both kinds': [
    mesh(`[{name: p, envoyExtAuthzHttp: {service: ${host}, port: 1}, envoyExtAuthzGrpc: {service: ${host}, port: 1}}]`),
    /envoyExtAuthz/,
  ],
  'a status that Envoy does not know': [http('statusOnError: "418"'), /must be a status of HTTP that Envoy knows/],
  'a status that is no number': [http('statusOnError: forbidden'), /must be a status of HTTP that Envoy knows/],
  'a relative prefix': [http('pathPrefix: check'), /must be a path that begins with \//],
  'a single star': [http('headersToUpstreamOnAllow: ["*"]'), /a single \* is not supported, as in Istio/],
  'a header with a line break': [
    http('includeAdditionalHeadersInCheck: {x-a: "1\\n2"}'),
    /must be the value of a header/,
  ],
  'a header that is none': [http('includeAdditionalHeadersInCheck: {"x a": "1"}'), /must be the name of a header/],
  'a format command': [
    http('includeAdditionalHeadersInCheck: {x-a: "%DOWNSTREAM_PEER_URI_SAN%"}'),
    /format commands are not known here/,
  ],
  'a body of no bytes': [http('includeRequestBodyInCheck: {maxRequestBytes: 0}'), /maxRequestBytes/],
};
for (const [name, [text, why]] of Object.entries(wrong)) {
  t.test(`${name} is refused`, async (t) => {
    const result = compiled(text);
    t.notOk(result.ok);
    if (!result.ok) t.match(result.problems.map(({ field, message }) => `${field}: ${message}`).join('\n'), why);
  });
}
