import t from 'tap';
import type { Route } from '../../src/model/route.ts';
import { reviewsCluster, routeOf, routesOf, toV1, withRoutes } from './reviews.ts';
import { good, problems, resourceYaml, serviceYaml } from './support.ts';

const rule = (fields: string): Route | undefined => routesOf(`{${fields}}`)[0];

t.test('redirect: what sidecars make of it on port 80', async (t) => {
  const cases: readonly (readonly [redirect: string, expected: object])[] = [
    ['{uri: /new}', { status: 301, path: { value: '/new', prefix: false } }],
    ['{authority: a.example}', { status: 301, authority: 'a.example' }],
    ['{scheme: https}', { status: 301, scheme: 'https' }],
    ['{port: 8080}', { status: 301, port: 8_080 }],
    // The default port of the scheme is not named.
    ['{port: 80}', { status: 301 }],
    ['{scheme: https, port: 443}', { status: 301, scheme: 'https' }],
    ['{scheme: https, port: 80}', { status: 301, scheme: 'https', port: 80 }],
    ['{derivePort: FROM_REQUEST_PORT}', { status: 301 }],
    ['{scheme: https, derivePort: FROM_REQUEST_PORT}', { status: 301, scheme: 'https', port: 80 }],
    ['{derivePort: FROM_PROTOCOL_DEFAULT}', { status: 301 }],
    ['{uri: /a, redirectCode: 0}', { status: 301, path: { value: '/a', prefix: false } }],
    ['{uri: /a, redirectCode: 302}', { status: 302, path: { value: '/a', prefix: false } }],
    ['{uri: /a, redirectCode: 303}', { status: 303, path: { value: '/a', prefix: false } }],
    ['{uri: /a, redirectCode: 307}', { status: 307, path: { value: '/a', prefix: false } }],
    ['{uri: /a, redirectCode: 308}', { status: 308, path: { value: '/a', prefix: false } }],
    ['{prefixRewrite: /b}', { status: 301, path: { value: '/b', prefix: true } }],
  ];
  for (const [redirect, expected] of cases) {
    const route = rule(`redirect: ${redirect}`);
    t.same(route?.redirect, expected, redirect);
    t.same(route?.destinations, [], redirect);
  }
  t.same(
    good(
      serviceYaml('reviews', 8_080) +
        resourceYaml('VirtualService', 'v', '{hosts: [reviews], http: [{redirect: {derivePort: FROM_REQUEST_PORT}}]}'),
    ).routes('reviews:8080')[0]?.redirect,
    { status: 301, port: 8_080 },
  );
  t.match(rule('redirect: {prefixRewrite: /b}')?.matches, [{ path: { kind: 'prefix', value: '/' } }]);
  t.match(good(withRoutes('{redirect: {uri: /a, redirectCode: 304}}')).remarks(), [/sidecars redirect with 301, 302/]);
});

t.test('a redirect has nothing of what is for requests that go on', async (t) => {
  const route = rule(
    'redirect: {uri: /a}, timeout: 1s, retries: {attempts: 3}, mirror: {host: reviews}, headers: {response: {set: {a: b}}}',
  );
  t.same(Object.keys(route ?? {}).sort(), ['destinations', 'headers', 'matches', 'name', 'provenance', 'redirect']);
});

t.test('direct response: status and body', async (t) => {
  const cases: readonly (readonly [direct: string, expected: object])[] = [
    ['{status: 503}', { status: 503 }],
    ['{status: 200, body: {string: "a\\nb"}}', { status: 200, body: 'a\nb' }],
    ['{status: 200, body: {bytes: "aGk="}}', { status: 200, body: new Uint8Array([0x68, 0x69]) }],
    ['{status: 200, body: {string: ""}}', { status: 200 }],
    ['{status: 200, body: {}}', { status: 200 }],
    ['{status: 600}', { status: 500 }],
  ];
  for (const [direct, expected] of cases) t.same(rule(`directResponse: ${direct}`)?.direct, expected, direct);
  const large = good(withRoutes(`{directResponse: {status: 200, body: {string: "${'a'.repeat(102_401)}"}}}`));
  t.match(large.remarks(), [/directResponse\.body enforced \(warning\): is large/]);
});

t.test('rewrite: of the path by prefix or expression, and of the authority', async (t) => {
  t.same(routeOf('rewrite: {uri: /b}')?.rewrite, { pathPrefix: '/b' });
  t.same(routeOf('rewrite: {authority: a}')?.rewrite, { authority: 'a' });
  t.same(routeOf('rewrite: {uriRegexRewrite: {match: "^/a/(.*)$", rewrite: "/b/\\\\1"}}')?.rewrite, {
    pathRegex: { pattern: '^/a/(.*)$', substitution: '/b/\\1' },
  });
  t.same(routeOf('match: [{uri: {exact: /a}}, {}], rewrite: {uri: /b}')?.matches, [
    { index: 0, path: { kind: 'exact', value: '/a' } },
    { index: 1, path: { kind: 'prefix', value: '/' } },
  ]);
});

t.test('fault: percentages in millionths, none is nothing', async (t) => {
  const cases: readonly (readonly [fault: string, expected: object | undefined])[] = [
    ['{delay: {fixedDelay: 5s, percentage: {value: 50}}}', { delay: { delayMs: 5_000, percent: 50 }, level: 'call' }],
    ['{delay: {fixedDelay: 5s, percent: 7}}', { delay: { delayMs: 5_000, percent: 7 }, level: 'call' }],
    [
      '{delay: {fixedDelay: 1s, percent: 7, percentage: {value: 33.33339}}}',
      { delay: { delayMs: 1_000, percent: 33.3333 }, level: 'call' },
    ],
    ['{delay: {fixedDelay: 5s}}', undefined],
    ['{delay: {fixedDelay: 5s, percentage: {}}}', undefined],
    ['{delay: {percentage: {value: 50}}}', undefined],
    ['{abort: {httpStatus: 500, percentage: {value: 10}}}', { abort: { status: 500, percent: 10 }, level: 'call' }],
    // Envoy answers requests that are not gRPC with 200 there.
    [
      '{abort: {grpcStatus: UNAVAILABLE, percentage: {value: 0.0001}}}',
      { abort: { status: 200, grpcStatus: 14, percent: 0.0001 }, level: 'call' },
    ],
    ['{abort: {httpStatus: 500}}', undefined],
    ['{abort: {percentage: {value: 10}}}', undefined],
    [
      '{delay: {fixedDelay: 1ms, percentage: {value: 100}}, abort: {httpStatus: 400, percentage: {value: 100}}}',
      { delay: { delayMs: 1, percent: 100 }, abort: { status: 400, percent: 100 }, level: 'call' },
    ],
  ];
  for (const [fault, expected] of cases) t.same(routeOf(`fault: ${fault}`)?.fault, expected, fault);
});

t.test('faults that do nothing, and old spellings, are warned of', async (t) => {
  const remarks = (fault: string) => good(withRoutes(`{fault: ${fault}, ${toV1}}`)).remarks();
  t.match(remarks('{delay: {fixedDelay: 1s}}'), [/fault\.delay enforced \(warning\): has no percentage/]);
  t.match(remarks('{delay: {fixedDelay: 1s, percent: 1}}'), [/fault\.delay\.percent .*deprecated/]);
  t.match(remarks('{abort: {httpStatus: 500}}'), [/fault\.abort enforced \(warning\): has no percentage/]);
  t.match(remarks('{abort: {percentage: {value: 1}}}'), [/has no httpStatus and no grpcStatus/]);
  t.match(remarks('{abort: {httpStatus: 600, percentage: {value: 1}}}'), [/there is no status 600/]);
});

t.test('mirrors: old and new spellings, percentages', async (t) => {
  const cluster = reviewsCluster('v2');
  const to = '{host: reviews, subset: v2}';
  const cases: readonly (readonly [fields: string, expected: readonly object[] | undefined])[] = [
    [`mirror: ${to}`, [{ cluster, percent: 100 }]],
    [`mirror: ${to}, mirrorPercentage: {value: 12.5}`, [{ cluster, percent: 12.5 }]],
    [`mirror: ${to}, mirrorPercent: 40`, [{ cluster, percent: 40 }]],
    [`mirror: ${to}, mirror_percent: 40`, [{ cluster, percent: 40 }]],
    [`mirror: ${to}, mirrorPercent: 40, mirrorPercentage: {value: 2}`, [{ cluster, percent: 2 }]],
    [`mirror: ${to}, mirrorPercentage: {}`, undefined],
    [`mirror: ${to}, mirrorPercent: 0`, undefined],
    ['mirrorPercentage: {value: 5}', undefined],
    [
      `mirrors: [{destination: ${to}}, {destination: {host: reviews}, percentage: {value: 1}}]`,
      [
        { cluster, percent: 100 },
        { cluster: reviewsCluster(''), percent: 1 },
      ],
    ],
    [`mirrors: [{destination: ${to}, percentage: {value: 0}}]`, undefined],
    ['mirror: {host: nowhere}', [{ cluster: 'outbound|80||nowhere.shop.svc.cluster.local', percent: 100 }]],
  ];
  for (const [fields, expected] of cases) t.same(routeOf(fields)?.mirrors, expected, fields);
  t.ok(good(withRoutes(`{mirror: ${to}, ${toV1}}`)).cluster('reviews|80|v2'), 'the mirror has a cluster');
  t.match(good(withRoutes(`{mirror: {host: nowhere}, ${toV1}}`)).remarks(), [
    /http\[0\]\.mirror\.host .* calls answer 503/,
  ]);
  t.match(good(withRoutes(`{mirror: ${to}, mirrorPercent: 1, ${toV1}}`)).remarks(), [/mirrorPercent .*deprecated/]);
});

t.test('CORS', async (t) => {
  const empty = {
    allowOrigins: [],
    allowMethods: [],
    allowHeaders: [],
    exposeHeaders: [],
    forwardUnmatchedPreflights: true,
  };
  const cases: readonly (readonly [cors: string, expected: object])[] = [
    ['{}', empty],
    [
      '{allowOrigins: [{exact: "https://a"}, {prefix: "https://b."}, {regex: "https://.*"}]}',
      {
        ...empty,
        allowOrigins: [
          { kind: 'exact', value: 'https://a' },
          { kind: 'prefix', value: 'https://b.' },
          { kind: 'regex', value: 'https://.*' },
        ],
      },
    ],
    [
      '{allowOrigin: [a, "*"]}',
      {
        ...empty,
        allowOrigins: [
          { kind: 'exact', value: 'a' },
          { kind: 'exact', value: '*' },
        ],
      },
    ],
    ['{allowOrigin: [a], allowOrigins: [{exact: b}]}', { ...empty, allowOrigins: [{ kind: 'exact', value: 'b' }] }],
    [
      '{allowMethods: [GET, "*"], allowHeaders: [x-a, "*"], exposeHeaders: [x-b]}',
      { ...empty, allowMethods: ['GET', '*'], allowHeaders: ['x-a', '*'], exposeHeaders: ['x-b'] },
    ],
    ['{maxAge: 24h, allowCredentials: false}', { ...empty, maxAgeMs: 86_400_000, allowCredentials: false }],
    ['{unmatchedPreflights: IGNORE}', { ...empty, forwardUnmatchedPreflights: false }],
    ['{unmatchedPreflights: FORWARD}', empty],
    ['{unmatchedPreflights: UNSPECIFIED}', empty],
  ];
  for (const [cors, expected] of cases) t.same(routeOf(`corsPolicy: ${cors}`)?.cors, expected, cors);
  t.same(rule('redirect: {uri: /a}, corsPolicy: {}')?.cors, empty, 'also of redirects');
});

const refusals: readonly (readonly [rule: string, message: RegExp])[] = [
  ['timeout: 1s', /http\[0\]: needs a route with a destination, a redirect or a directResponse/],
  ['route: []', /needs a route with a destination/],
  [`redirect: {uri: /a}, ${toV1}`, /http\[0\]\.route: must not be there beside redirect/],
  ['redirect: {uri: /a}, fault: {abort: {httpStatus: 500}}', /fault: must not be there beside redirect/],
  ['redirect: {uri: /a}, rewrite: {uri: /b}', /rewrite: must not be there beside redirect/],
  ['redirect: {uri: /a}, directResponse: {status: 200}', /directResponse: must not be there beside redirect/],
  [`directResponse: {status: 200}, ${toV1}`, /route: must not be there beside directResponse/],
  ['directResponse: {status: 200}, fault: {abort: {httpStatus: 500}}', /fault: must not be there beside direct/],
  ['directResponse: {status: 200}, rewrite: {uri: /b}', /rewrite: must not be there beside directResponse/],
  [`mirror: {host: a}, mirrors: [{destination: {host: b}}], ${toV1}`, /mirrors: must not be there beside mirror/],
  ['redirect: {}', /redirect: needs a uri, prefixRewrite, authority, scheme or port/],
  ['redirect: {redirectCode: 302}', /needs a uri/],
  ['redirect: {uri: /a, prefixRewrite: /b}', /may have only one of uri and prefixRewrite/],
  ['match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b}', /match\[0\]\.uri: must be a prefix/],
  ['redirect: {port: 1, derivePort: FROM_REQUEST_PORT}', /may have only one of port and derivePort/],
  ['redirect: {uri: /a, redirectCode: 200}', /redirectCode: must be from 300 to 399, got 200/],
  ['redirect: {uri: /a, scheme: ftp}', /scheme: must be http or https, got "ftp"/],
  ['redirect: {port: 65536}', /port: must be an integer from 0 to 65535/],
  ['redirect: {derivePort: OTHER}', /derivePort: must be one of/],
  ['directResponse: {}', /needs the field status/],
  ['directResponse: {status: 199}', /status: must be a status from 200 to 599, got 199/],
  ['directResponse: {status: 601}', /status: must be a status from 200 to 599/],
  ['directResponse: {status: 200, body: {string: a, bytes: YQ==}}', /may have only one of string and bytes/],
  ['directResponse: {status: 200, body: {bytes: "?"}}', /bytes: must be base64/],
  [`directResponse: {status: 200, body: {string: "${'a'.repeat(1_048_577)}"}}`, /body: must not be larger than 1 MiB/],
  [`rewrite: {}, ${toV1}`, /rewrite: needs a uri, a uriRegexRewrite or an authority/],
  [`rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}, ${toV1}`, /only one of uri and uriRegexRewrite/],
  [`rewrite: {uriRegexRewrite: {match: a}}, ${toV1}`, /uriRegexRewrite: needs match and rewrite/],
  [`rewrite: {uriRegexRewrite: {match: "(", rewrite: b}}, ${toV1}`, /match: not a valid RE2 pattern/],
  [`rewrite: {uriRegexRewrite: {match: "(a)", rewrite: '/\\2'}}, ${toV1}`, /rewrite: \\2 stands for a group, and the/],
  [`rewrite: {uriRegexRewrite: {match: a, rewrite: '/\\d'}}, ${toV1}`, /rewrite: a backslash in a substitution needs/],
  [`fault: {}, ${toV1}`, /fault: needs a delay or an abort/],
  [`fault: {delay: {exponentialDelay: 1s}}, ${toV1}`, /exponentialDelay: is not supported/],
  [`fault: {delay: {fixedDelay: 1us, percent: 1}}, ${toV1}`, /fixedDelay: must be a duration/],
  [`fault: {delay: {fixedDelay: 1s, percentage: {value: 0.00001}}}, ${toV1}`, /from 0\.0001 to 100, got 0\.00001/],
  [`fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}, ${toV1}`, /value: must be a number from 0 to 100/],
  [`fault: {abort: {http2Error: a}}, ${toV1}`, /http2Error: is not supported/],
  [`fault: {abort: {httpStatus: 100}}, ${toV1}`, /httpStatus: must be a status from 200 to 599/],
  [`fault: {abort: {grpcStatus: NOPE}}, ${toV1}`, /grpcStatus: must be one of OK, CANCELLED/],
  [`fault: {abort: {grpcStatus: OK, httpStatus: 200}}, ${toV1}`, /only one of httpStatus and grpcStatus/],
  [`mirror: {host: "*"}, ${toV1}`, /mirror\.host: must be a host name/],
  [`mirror: {host: a, port: {}}, ${toV1}`, /mirror\.port: needs the field number/],
  [`mirrors: [{percentage: {value: 1}}], ${toV1}`, /mirrors\[0\]: needs the field destination/],
  [`mirrors: [{destination: {host: a b}}], ${toV1}`, /mirrors\[0\]\.destination\.host: must be a host name/],
  [`mirrorPercentage: {value: -1}, ${toV1}`, /mirrorPercentage\.value: must be a number from 0 to 100/],
  [`mirrorPercent: 101, ${toV1}`, /mirrorPercent: must be an integer from 0 to 100/],
  [`corsPolicy: {allowOrigins: [{}]}, ${toV1}`, /allowOrigins\[0\]: needs an exact, a prefix or a regex/],
  [`corsPolicy: {allowOrigins: [{exact: ""}]}, ${toV1}`, /allowOrigins\[0\]: needs an exact/],
  [`corsPolicy: {allowOrigins: [{regex: "*"}]}, ${toV1}`, /allowOrigins\[0\]\.regex: not a valid RE2/],
  [`corsPolicy: {allowMethods: [get]}, ${toV1}`, /allowMethods\[0\]: must be one of GET/],
  [`corsPolicy: {allowHeaders: ["a b"]}, ${toV1}`, /allowHeaders\[0\]: must be the name of a header, or \*/],
  [`corsPolicy: {exposeHeaders: [""]}, ${toV1}`, /exposeHeaders\[0\]: must be the name of a header/],
  [`corsPolicy: {maxAge: 1500ms}, ${toV1}`, /maxAge: must be whole seconds/],
  [`corsPolicy: {unmatchedPreflights: MAYBE}, ${toV1}`, /unmatchedPreflights: must be one of/],
  [`timeout: 0s, ${toV1}`, /timeout: must be a duration/],
];

for (const [fields, message] of refusals) {
  t.test(`refused: ${fields.slice(0, 100)}`, async (t) => {
    t.match(problems(withRoutes(`{${fields}}`)).join('\n'), message);
  });
}
