import type { Test } from 'tap';

/** A span as Zipkin keeps it. */
export interface StoredSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId?: string;
  readonly name?: string;
  readonly kind?: string;
  readonly localEndpoint?: { readonly serviceName?: string };
  readonly tags?: Readonly<Record<string, string>>;
  readonly annotations?: readonly { readonly value: string }[];
}

/** The trace of examples/traces: who is below whom, and what they say. Zipkin writes names in small letters. */
export function checkTrace(t: Test, spans: readonly StoredSpan[]): void {
  const find = (service: string, kind: string | undefined, status?: string): StoredSpan | undefined =>
    spans.find(
      (span) =>
        span.localEndpoint?.serviceName === service &&
        span.kind === kind &&
        (status === undefined || span.tags?.['http.response.status_code'] === status),
    );
  t.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1, 'one trace');
  t.equal(spans.length, 8);
  const shop = find('shop', 'CLIENT');
  const orders = find('orders', 'SERVER');
  const [call, retry] = spans
    .filter((span) => span.localEndpoint?.serviceName === 'orders' && span.kind === 'CLIENT')
    .sort((a, b) => Number(a.parentId !== orders?.id) - Number(b.parentId !== orders?.id));
  const failed = find('stock', 'SERVER', '503');
  const good = find('stock', 'SERVER', '200');
  t.equal(shop?.parentId, undefined);
  t.equal(orders?.parentId, shop?.id);
  t.equal(call?.parentId, orders?.id);
  t.equal(retry?.parentId, call?.id, 'the second try is below its call');
  t.equal(failed?.parentId, call?.id, 'what the first try reached is below the call');
  t.equal(good?.parentId, retry?.id, 'what the second one reached is below that');
  const work = spans.filter(({ name }) => name === 'look it up');
  t.same(work.map(({ parentId }) => parentId).sort(), [failed?.id, good?.id].sort(), "the application's are below");
  t.equal(shop?.name, 'orders.shop.svc.cluster.local:80/*');
  t.equal(call?.name, 'stock.shop.svc.cluster.local:80/*');
  t.match(orders?.name, /^orders\.shop\.svc\.cluster\.local:\d+\/\*$/);
  t.match(call?.tags, {
    'http.request.method': 'GET',
    'http.response.status_code': '200',
    'http.request.resend_count': '1',
    upstream_cluster: 'outbound|80||stock.shop.svc.cluster.local',
    response_flags: '-',
    'istio.canonical_service': 'orders',
    'istio.namespace': 'shop',
    component: 'proxy',
  });
  t.match(call?.annotations?.[0]?.value, /try failed.*503/);
  t.equal(failed?.tags?.['error'], '503');
  t.equal(call?.tags?.['error'], undefined);
  const ids = new Set(spans.flatMap(({ tags }) => tags?.['guid:x-request-id'] ?? []));
  t.equal(ids.size, 1, 'one request id');
}
