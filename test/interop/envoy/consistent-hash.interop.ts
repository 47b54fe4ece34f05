// Which endpoint a key belongs to: a process of the mesh must send it where an Envoy does, or a fleet of
// both would keep everything twice.
import t from 'tap';
import { request } from 'undici';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from './binary.ts';
import { fixedSecrets, loopback, type Message } from './bootstrap.ts';
import { portServer } from './echo.ts';
import { meshProcess } from './mesh-process.ts';
import { type OutboundService, outboundSidecar } from './outbound-sidecar.ts';
import { startEnvoy } from './run.ts';

interface Case {
  readonly name: string;
  /** Indexes of the servers that are endpoints, and their weights. Default: all, alike. */
  readonly weights?: readonly (number | undefined)[];
  readonly balance: Message;
  readonly rule: string;
  /** Where the key of a request is. */
  readonly key: 'header' | 'query' | 'cookie';
}

const ring = (size: number): Pick<Case, 'balance' | 'rule'> => ({
  balance: {
    lb_policy: 'RING_HASH',
    ring_hash_lb_config: { minimum_ring_size: size, hash_function: 'XX_HASH' },
  },
  rule: `ringHash: {minimumRingSize: ${size}}`,
});
const maglev = (size: number): Pick<Case, 'balance' | 'rule'> => ({
  balance: { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: size } },
  rule: `maglev: {tableSize: ${size}}`,
});

const weights = [1, 2, 3, 10, 50];
const cases: readonly Case[] = [
  { name: 'ring', key: 'header', ...ring(1_024) },
  { name: 'a small ring', key: 'header', ...ring(7) },
  { name: 'a large ring', key: 'query', ...ring(20_000) },
  { name: 'a ring with weights', key: 'header', weights, ...ring(1_024) },
  { name: 'a ring with one endpoint less', key: 'header', weights: [1, undefined, 1, 1, 1], ...ring(1_024) },
  { name: 'a ring, keys in cookies', key: 'cookie', ...ring(1_024) },
  { name: 'Maglev', key: 'header', ...maglev(65_537) },
  { name: 'a small Maglev table', key: 'query', ...maglev(11) },
  { name: 'Maglev with weights', key: 'header', weights, ...maglev(65_537) },
  { name: 'Maglev with one endpoint less', key: 'cookie', weights: [1, 1, undefined, 1, 1], ...maglev(65_537) },
];

const envoyKey: Readonly<Record<Case['key'], Message>> = {
  header: { header: { header_name: 'x-key' } },
  query: { query_parameter: { name: 'key' } },
  cookie: { cookie: { name: 'key' } },
};
const istioKey: Readonly<Record<Case['key'], string>> = {
  header: 'httpHeaderName: x-key',
  query: 'httpQueryParameterName: key',
  cookie: 'httpCookie: {name: key, ttl: 0s}',
};

function keyed(url: string, where: Case['key'], key: string): [url: string, headers: Record<string, string>] {
  if (where === 'header') return [url, { 'x-key': key }];
  if (where === 'query') return [`${url}?key=${encodeURIComponent(key)}`, {}];
  return [url, { cookie: `key=${key}` }];
}

t.test(
  ...withEnvoy('every key goes to the endpoint that an Envoy chooses', async (t, program) => {
    const ports = await Promise.all(Array.from({ length: 5 }, () => portServer(t)));
    const weightOf = ({ weights }: Case, i: number): number | undefined => (weights === undefined ? 1 : weights[i]);
    const services = cases.map((each, at): OutboundService => {
      const name = `case-${at}`;
      const endpoints = ports.flatMap((port, i) => {
        const weight = weightOf(each, i);
        return weight === undefined
          ? []
          : { endpoint: { address: loopback(port) }, load_balancing_weight: { value: weight } };
      });
      const cluster_name = `outbound|80|${name}|${name}.shop.svc.cluster.local`;
      return {
        name,
        host: `${name}.shop.svc.cluster.local`,
        endpoints: [],
        protocol: 'HTTP',
        tls: 'DISABLE',
        route: { hash_policy: [envoyKey[each.key]] },
        cluster: {
          ...each.balance,
          load_assignment: { cluster_name, endpoints: [{ lb_endpoints: endpoints }] },
        },
      };
    });
    const credentials = makeAuthority().issue('spiffe://cluster.local/ns/shop/sa/web');
    const envoy = await startEnvoy(t, program, (folder) =>
      outboundSidecar({ services, secrets: fixedSecrets(credentials) }, folder),
    );
    const yaml = cases
      .map((each, at) => {
        const endpoints = ports.flatMap((port, i) => {
          const weight = weightOf(each, i);
          return weight === undefined ? [] : `  - {address: 127.0.0.1, ports: {http: ${port}}, weight: ${weight}}\n`;
        });
        return hashed(`case-${at}`, endpoints.join(''), `${istioKey[each.key]}, ${each.rule}`);
      })
      .join('---');
    const mesh = await meshProcess(t, 'web', yaml, credentials);

    for (const [at, each] of cases.entries()) {
      const different: string[] = [];
      const chosen = new Set<string>();
      for (let i = 0; i < 200; i++) {
        const key = `user-${i * 7919}`;
        const [ours, headers] = keyed(`http://case-${at}/`, each.key, key);
        const [theirs] = keyed(`http://127.0.0.1:${envoy.port(`case-${at}`)}/`, each.key, key);
        const [a, b] = await Promise.all([
          request(ours, { headers, dispatcher: mesh.dispatcher }).then(({ body }) => body.text()),
          request(theirs, { headers }).then(({ body }) => body.text()),
        ]);
        chosen.add(b);
        if (a !== b) different.push(`${key}: ${a}, an Envoy says ${b}`);
      }
      t.same(different, [], each.name);
      t.ok(chosen.size > 1, `${each.name}: ${chosen.size} endpoints were chosen`);
    }
  }),
);

const hashed = (name: string, endpoints: string, hash: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
${endpoints}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: shop}
spec:
  host: ${name}
  trafficPolicy:
    tls: {mode: DISABLE}
    loadBalancer: {consistentHash: {${hash}}}
`;
