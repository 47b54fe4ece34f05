import t from 'tap';
import { type FormatContext, formatHeader, parseHeaderFormat } from '../../src/lib/header-format.ts';

const request: Record<string, string> = { 'x-a': 'alpha', ':path': '/p?q', empty: '' };
const context: FormatContext = {
  requestHeader: (name) => request[name],
  responseHeader: (name) => ({ server: 'istio' })[name],
  status: 503,
  routeName: 'canary',
  startTimeMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6),
};

const table: readonly (readonly [string, string, ...(readonly string[])])[] = [
  ['', ''],
  ['plain text', 'plain text'],
  ['50%%', '50%'],
  ['%%REQ(x-a)%%', '%REQ(x-a)%'],
  ['%REQ(X-A)%', 'alpha'],
  ['<%REQ(x-a)%>', '<alpha>'],
  ['%REQ(:path)%', '/p?q'],
  ['%REQ(none?x-a)%', 'alpha'],
  ['%REQ(x-a?none)%', 'alpha'],
  ['%REQ(empty?x-a)%', ''],
  ['%REQ(x-a):3%', 'alp'],
  ['%REQ(none)%', ''],
  ['%RESP(server)%', 'istio'],
  ['%RESP(none)%', ''],
  ['%START_TIME%', '2026-01-02T03:04:05.006Z'],
  ['%PROTOCOL% %RESPONSE_CODE% %ROUTE_NAME%', 'HTTP/1.1 503 canary'],
  ['100%', '100%'],
  ['50% off', '50% off'],
  ['a%b%c', 'a%b%c'],
  ['%HOSTNAME%', '%HOSTNAME%', '%HOSTNAME%'],
  ['%START_TIME(%s)%', '%START_TIME(%s)%'],
  ['%START_TIME(x)%', '%START_TIME(x)%', '%START_TIME(x)%'],
  ['%REQ()%', '%REQ()%', '%REQ()%'],
  ['%REQ(a?b?c)%', '%REQ(a?b?c)%', '%REQ(a?b?c)%'],
  ['%REQ%', '%REQ%', '%REQ%'],
  ['a %UPSTREAM_HOST% b %REQ(x-a)%', 'a %UPSTREAM_HOST% b alpha', '%UPSTREAM_HOST%'],
];

for (const [value, wanted, ...unknown] of table) {
  t.test(value === '' ? 'an empty value' : value, async (t) => {
    const parsed = parseHeaderFormat(value);
    t.equal(formatHeader(parsed.parts, context), wanted);
    t.same(parsed.unknown, unknown, 'operators that are not known are told');
  });
}
