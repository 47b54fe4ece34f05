import type { RequestListener } from 'node:http';
import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { jsonLogger } from '../../src/lib/json-logger.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { serverSeries } from '../../src/telemetry/server-filter.ts';
import { makeAuthority } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { rawExchange, shopWeb, testInbound } from '../support/inbound.ts';

/** Everything that is written where a line ends a record, or that a terminal obeys. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const obeyed = /[\u0000-\u001F\u007F-\u009F\u2028\u2029]/;

const hostile = [
  '\r\nFAKE {"level":"error"}',
  'a\u001B[31m',
  '\u0000',
  '\u009B31m\u0085',
  '"\\',
  '\u2028\u2029',
  '\uD800',
  '\uDFFF\uD800',
  '__proto__',
];

/** What a logger wrote of these fields. */
function written(fields: object, message: string): string {
  const lines: string[] = [];
  jsonLogger({ clock: fakeClock(), level: 'debug', write: (line) => void lines.push(line) }).debug(fields, message);
  return lines.join('');
}

t.test('OBS-001 OBS-002 whatever a field holds, a record is one line of JSON without control characters', async (t) => {
  for (const text of hostile) {
    const error = Object.assign(new Error(text), { code: text });
    const line = written(
      { path: text, [text]: text, nested: [{ [text]: [text] }], error, map: new Map([[text, text]]) },
      text,
    );
    t.ok(/^\{[^\n]*\}\n$/.test(line));
    t.notMatch(line.slice(0, -1), obeyed, encodeURI(text.toWellFormed()));
    const read = JSON.parse(line) as Record<string, unknown>;
    t.ok(read['message'] === text);
    t.equal(read['level'], 'debug');
  }
  t.same(Object.keys(Object.prototype), []);
});

t.test(
  'OBS-001 OBS-004 OBS-005 what is logged of refused requests holds no control characters, no query and no secret',
  async (t) => {
    const secret = 'c2VjcmV0LXNlY3JldA';
    const jwt = `eyJhbGciOiJFUzI1NiJ9.${secret}.${secret}`;
    const app: RequestListener = (_, response) => response.end();
    const inbound = await testInbound(app, { authority: makeAuthority() });
    t.teardown(() => inbound.acceptor.close());
    const yaml =
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nobody, namespace: shop}\nspec: {}\n';
    const result = compile(parseYaml(yaml).documents, { workload: shopWeb });
    if (!result.ok) throw new Error('refused');
    inbound.use(result.snapshot);
    const targets = [
      `/a?access_token=${secret}`,
      `/%0d%0aFAKE?x=${secret}`,
      `/%00?access_token=${secret}`,
      `http://user:${secret}@web/%00`,
      `/%zz#${secret}`,
      `*?${secret}`,
      `/a/%C2%9B31m/\u0080\u00ff`,
    ];
    for (const target of targets) {
      const headers = `Host: web\r\nAuthorization: Bearer ${jwt}\r\nCookie: session=${secret}\r\nUser-Agent: "\\\xe2\x80\xa8\r\n`;
      const [answer] = await rawExchange(inbound.port, `GET ${target} HTTP/1.1\r\n${headers}\r\n`);
      t.ok(answer === undefined || answer.status >= 400, target);
      t.notMatch(answer?.body ?? '', secret, 'nor in the answer');
    }
    const { lines } = inbound.logger;
    t.ok(lines.length >= 4, 'refusals are logged');
    for (const { message, fields } of lines) {
      const line = written(fields, message);
      t.notMatch(line.slice(0, -1), obeyed);
      t.notMatch(line, secret, line);
    }
    t.notMatch(JSON.stringify(inbound.metrics.snapshot()), /secret|FAKE|c2Vj/);
  },
);

t.test('OBS-017 names that every object has are labels like others', async (t) => {
  const metrics = createMetrics();
  const labels = {
    destinationService: '__proto__',
    destinationWorkload: 'constructor',
    destinationVersion: 'toString',
  };
  const seriesOf = serverSeries(metrics, labels);
  for (const spiffeId of ['__proto__', 'constructor', 'spiffe://a/ns/__proto__/sa/toString']) {
    seriesOf({ spiffeId, namespace: '__proto__', serviceAccount: 'x', trustDomain: 'a' } as never).record(
      200,
      '__proto__',
      1,
    );
  }
  const all = metrics.snapshot();
  t.same(
    all.map((series) => [series.labels.sourcePrincipal, series.requests, Object.keys(series.flags)]),
    ['__proto__', 'constructor', 'spiffe://a/ns/__proto__/sa/toString'].map((id) => [id, 1, ['__proto__']]),
  );
  t.same(Object.keys(Object.prototype), []);
});
