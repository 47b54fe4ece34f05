// What a real istiod tells sidecars about calls, and the same resources compiled from YAML: one decision.
import type { ExplainRequest } from 'inmesh/explain';
import t from 'tap';
import { endpointsOf, outboundOf, startTwin } from './twin.ts';

const reviews = 'reviews.shop.svc.cluster.local';

/** Resources, and calls that both must decide alike. */
const cases: Readonly<Record<string, { readonly yaml: string; readonly calls: readonly ExplainRequest[] }>> = {
  'services without any rule': {
    yaml: '',
    calls: [
      { url: `http://${reviews}/` },
      { url: 'http://reviews/' },
      { url: 'http://reviews.shop/' },
      { url: 'http://ratings.shop.svc/' },
      { url: 'http://unknown.example.com/' },
    ],
  },
  'a canary by weight and a header': {
    yaml: `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: shop }
spec:
  host: ${reviews}
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [${reviews}]
  http:
  - match: [{ headers: { end-user: { exact: jason } } }]
    route: [{ destination: { host: ${reviews}, subset: v2 } }]
  - match: [{ uri: { prefix: /api }, method: { regex: 'GET|HEAD' } }, { queryParams: { debug: { exact: '1' } } }]
    rewrite: { uri: /v2 }
    timeout: 2s
    retries: { attempts: 3, perTryTimeout: 500ms, retryOn: '5xx,reset' }
    route: [{ destination: { host: ${reviews}, subset: v1 }, headers: { request: { set: { x-to: v1 } } } }]
  - route:
    - { destination: { host: ${reviews}, subset: v1 }, weight: 80 }
    - { destination: { host: ${reviews}, subset: v2 }, weight: 20 }
`,
    calls: [
      { url: 'http://reviews/', headers: { 'end-user': 'jason' } },
      { url: 'http://reviews/api/x?y=1' },
      { url: 'http://reviews/other?debug=1' },
      { url: 'http://reviews/api', method: 'POST' },
      { url: 'http://reviews/', random: 0.79 },
      { url: 'http://reviews/', random: 0.81 },
    ],
  },
  'redirects, direct answers, faults, mirrors': {
    yaml: `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [${reviews}]
  http:
  - match: [{ uri: { exact: /old } }]
    redirect: { uri: /new, redirectCode: 302 }
  - match: [{ uri: { exact: /teapot } }]
    directResponse: { status: 418, body: { string: short and stout } }
  - match: [{ uri: { prefix: /fault } }]
    fault: { abort: { httpStatus: 503, percentage: { value: 50 } }, delay: { fixedDelay: 3s, percentage: { value: 10 } } }
    route: [{ destination: { host: ${reviews} } }]
  - mirror: { host: ratings.shop.svc.cluster.local }
    mirrorPercentage: { value: 25 }
    route: [{ destination: { host: ${reviews} } }]
`,
    calls: [
      { url: 'http://reviews/old' },
      { url: 'http://reviews/teapot' },
      { url: 'http://reviews/fault', random: 0.05 },
      { url: 'http://reviews/fault', random: 0.3 },
      { url: 'http://reviews/', random: 0.1 },
      { url: 'http://reviews/', random: 0.9 },
    ],
  },
  'a DestinationRule': {
    yaml: `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: shop }
spec:
  host: ${reviews}
  trafficPolicy:
    connectionPool: { tcp: { maxConnections: 7 }, http: { http1MaxPendingRequests: 3, maxRetries: 2 } }
    outlierDetection: { consecutive5xxErrors: 3, interval: 5s, baseEjectionTime: 10s }
    loadBalancer: { consistentHash: { httpHeaderName: x-user } }
`,
    calls: [{ url: 'http://reviews/' }],
  },
};

t.test('calls are decided alike by what istiod sends and by the YAML that it has', async (t) => {
  const twin = await startTwin(t);
  if ('why' in twin) {
    t.comment(`skipped, there is no peer here: ${twin.why}`);
    return;
  }
  for (const [name, { calls, yaml }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const both = await twin.both(yaml);
      for (const call of calls) {
        t.same(outboundOf(both.xds, call), outboundOf(both.yaml, call), JSON.stringify(call));
      }
      const clusters = [...both.yaml.clusters.keys()].sort();
      t.same([...both.xds.clusters.keys()].filter((cluster) => clusters.includes(cluster)).sort(), clusters);
      for (const cluster of clusters) t.same(endpointsOf(both.xds, cluster), endpointsOf(both.yaml, cluster), cluster);
    });
  }
  t.same(twin.problems, [], 'nothing that istiod sends is refused');
});
