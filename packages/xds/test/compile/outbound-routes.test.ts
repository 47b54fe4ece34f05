import fc from 'fast-check';
import { compileStringMatch, type Route } from 'inmesh/model';
import t from 'tap';
import { rangeMatch } from '../../src/compile/outbound-matchers.ts';
import { pathTemplate, templateSubstitution } from '../../src/compile/path-template.ts';
import { type ReadRoutes, readRouteFor } from '../../src/compile/route.ts';
import { pack } from '../../src/proto/any.ts';
import { corsPolicySchema, httpFaultSchema } from '../../src/proto/envoy/http-filters.ts';
import {
  type Route as Message,
  type RouteConfiguration,
  routeConfigurationSchema,
} from '../../src/proto/envoy/route-config.ts';
import { uriTemplateMatchConfigSchema, uriTemplateRewriteConfigSchema } from '../../src/proto/envoy/route-match.ts';
import type { Input } from '../../src/proto/schema.ts';
import { ResourceError } from '../../src/resources.ts';
import { refusedField } from '../support/envoy.ts';

type RouteInput = Input<Message>;
type Match = NonNullable<RouteInput['match']>;
type Action = NonNullable<RouteInput['route']>;

const go: RouteInput = { route: { cluster: 'a', timeout: 0 } };

function read(
  routes: readonly RouteInput[],
  more: Input<RouteConfiguration> = {},
  profile: 'istio' | 'grpc' = 'istio',
): ReadRoutes {
  const host = { name: 'h', domains: ['h'], routes, ...more.virtual_hosts?.[0] };
  return readRouteFor(profile)(pack(routeConfigurationSchema, { name: 'r', ...more, virtual_hosts: [host] })).value;
}

function bare({ provenance: _, name: _name, ...rest }: Route): Omit<Route, 'provenance' | 'name'> {
  return rest;
}

function routes(...given: Parameters<typeof read>): readonly Omit<Route, 'provenance' | 'name'>[] {
  return (read(...given).hosts[0]?.routes ?? []).map(({ route }) => bare(route));
}

const matchesOf = (match: Match): unknown => routes([{ ...go, match }])[0]?.matches;
const header = (more: NonNullable<Match['headers']>[number]): Match => ({
  prefix: '/',
  headers: [{ name: 'X-A', ...more }],
});
const prefix = { kind: 'prefix', value: '/' };
const present = { name: 'x-a', match: { kind: 'present' } };

t.test('what a route matches', async (t) => {
  const cases: readonly (readonly [name: string, match: Match, expected: unknown])[] = [
    ['every path', { prefix: '/' }, []],
    ['an empty prefix', { prefix: '' }, []],
    ['a prefix', { prefix: '/a' }, [{ index: 0, path: { kind: 'prefix', value: '/a' } }]],
    ['a path', { path: '/a' }, [{ index: 0, path: { kind: 'exact', value: '/a' } }]],
    [
      'case that does not count',
      { path: '/a', case_sensitive: false },
      [{ index: 0, path: { kind: 'exact', value: '/a' }, pathIgnoreCase: true }],
    ],
    ['an expression', { safe_regex: { regex: '/a.' } }, [{ index: 0, path: { kind: 'regex', value: '/a.' } }]],
    [
      'a prefix that ends between segments',
      { path_separated_prefix: '/a' },
      [
        { index: 0, path: { kind: 'exact', value: '/a' } },
        { index: 1, path: { kind: 'prefix', value: '/a/' } },
      ],
    ],
    [
      'a template',
      {
        path_match_policy: { name: 't', typed_config: pack(uriTemplateMatchConfigSchema, { path_template: '/a/{b}' }) },
      },
      [{ index: 0, path: { kind: 'regex', value: pathTemplate('/a/{b}', '').pattern } }],
    ],
    ['a header that is there', header({ present_match: true }), [{ index: 0, path: prefix, headers: [present] }]],
    [
      'a header that is not there',
      header({ present_match: false }),
      [{ index: 0, path: prefix, withoutHeaders: [present] }],
    ],
    [
      'a header that is not there, inverted',
      header({ present_match: true, invert_match: true }),
      [{ index: 0, path: prefix, withoutHeaders: [present] }],
    ],
    ['a header without a condition', header({}), [{ index: 0, path: prefix, headers: [present] }]],
    [
      'a value',
      header({ exact_match: 'v' }),
      [{ index: 0, path: prefix, headers: [{ name: 'x-a', match: { kind: 'exact', value: 'v' } }] }],
    ],
    [
      'a suffix',
      header({ suffix_match: 'v' }),
      [{ index: 0, path: prefix, headers: [{ name: 'x-a', match: { kind: 'suffix', value: 'v' } }] }],
    ],
    [
      'a part',
      header({ contains_match: 'a.b' }),
      [{ index: 0, path: prefix, headers: [{ name: 'x-a', match: { kind: 'regex', value: '(?s).*a\\.b.*' } }] }],
    ],
    [
      'a value whose case does not count',
      header({ string_match: { exact: 'v+', ignore_case: true } }),
      [{ index: 0, path: prefix, headers: [{ name: 'x-a', match: { kind: 'regex', value: '(?is)v\\+' } }] }],
    ],
    [
      'another value: the header must be there',
      header({ exact_match: 'v', invert_match: true }),
      [
        {
          index: 0,
          path: prefix,
          headers: [present],
          withoutHeaders: [{ name: 'x-a', match: { kind: 'exact', value: 'v' } }],
        },
      ],
    ],
    [
      'another value or none',
      header({ exact_match: 'v', invert_match: true, treat_missing_header_as_empty: true }),
      [{ index: 0, path: prefix, withoutHeaders: [{ name: 'x-a', match: { kind: 'exact', value: 'v' } }] }],
    ],
    [
      'an empty value, or none',
      header({ string_match: { exact: '' }, treat_missing_header_as_empty: true }),
      [
        { index: 0, path: prefix, headers: [{ name: 'x-a', match: { kind: 'exact', value: '' } }] },
        { index: 1, path: prefix, withoutHeaders: [present] },
      ],
    ],
    [
      'a value that is not empty, though missing counts as empty',
      header({ string_match: { exact: 'v' }, treat_missing_header_as_empty: true }),
      [{ index: 0, path: prefix, headers: [{ name: 'x-a', match: { kind: 'exact', value: 'v' } }] }],
    ],
    ['a range without numbers', header({ range_match: { start: 5, end: 5 } }), undefined],
    [
      'the method and the authority',
      {
        prefix: '/',
        headers: [
          { name: ':method', exact_match: 'GET' },
          { name: 'Host', prefix_match: 'a' },
          { name: ':method', prefix_match: 'G' },
        ],
      },
      [
        {
          index: 0,
          path: prefix,
          method: { kind: 'exact', value: 'GET' },
          authority: { kind: 'prefix', value: 'a' },
          headers: [{ name: ':method', match: { kind: 'prefix', value: 'G' } }],
        },
      ],
    ],
    [
      'gRPC',
      { prefix: '/', grpc: {} },
      [
        {
          index: 0,
          path: prefix,
          headers: [{ name: 'content-type', match: { kind: 'regex', value: 'application/grpc(\\+.*)?' } }],
        },
      ],
    ],
    [
      'query parameters',
      {
        prefix: '/',
        query_parameters: [
          { name: 'q', string_match: { prefix: 'a' } },
          { name: 'r', present_match: true },
        ],
      },
      [
        {
          index: 0,
          path: prefix,
          queryParams: [
            { name: 'q', match: { kind: 'prefix', value: 'a' } },
            { name: 'r', match: { kind: 'present' } },
          ],
        },
      ],
    ],
    ['all requests of a fraction', { prefix: '/', runtime_fraction: { default_value: { numerator: 100 } } }, []],
    ['a share of the requests', { prefix: '/', runtime_fraction: { default_value: { numerator: 50 } } }, undefined],
    ['CONNECT', { connect_matcher: {} }, undefined],
    ['TLS of the caller', { prefix: '/', tls_context: {} }, undefined],
    ['metadata', { prefix: '/', dynamic_metadata: [{ filter: 'f' }] }, undefined],
    ['state of filters', { prefix: '/', filter_state: [new Uint8Array([10, 1, 97])] }, undefined],
    ['cookies', { prefix: '/', cookies: [new Uint8Array([10, 1, 97])] }, undefined],
  ];
  for (const [name, match, expected] of cases) t.strictSame(matchesOf(match), expected, name);
});

t.test('a range of numbers takes those in it, and nothing else', async (t) => {
  const number = fc.oneof(fc.integer({ min: -2_000, max: 2_000 }), fc.integer({ min: -(10 ** 14), max: 10 ** 14 }));
  fc.assert(
    fc.property(number, fc.integer({ min: 0, max: 3_000 }), number, fc.boolean(), (start, length, other, near) => {
      const end = start + length;
      const match = rangeMatch(start, end, '');
      if (match === undefined) return length === 0;
      const test = compileStringMatch(match);
      const value = near ? start + (Math.abs(other) % (length + 2)) - 1 : other;
      return test(String(value)) === (value >= start && value < end);
    }),
    { numRuns: 500 },
  );
  const test = compileStringMatch(rangeMatch(-5, 20, '') ?? { kind: 'present' });
  for (const good of ['0', '-0', '007', '+7', '-5', '19']) t.ok(test(good), good);
  for (const bad of ['', '20', '-6', '7.0', '7a', ' 7', '0x7']) t.notOk(test(bad), bad);
});

t.test('templates of paths', async (t) => {
  const cases: readonly (readonly [template: string, good: readonly string[], bad: readonly string[]])[] = [
    ['/a/*/b', ['/a/x/b'], ['/a//b', '/a/x/y/b', '/a/x']],
    ['/a/**', ['/a/', '/a/b', '/a/b/c'], ['/b/', '/a']],
    ['/{country}/{rest=**}', ['/de/a/b', '/de/'], ['//a']],
    ['/{v=v1/*}/x', ['/v1/a/x'], ['/v2/a/x', '/v1/x']],
    ['/a.b', ['/a.b'], ['/aXb']],
  ];
  for (const [template, good, bad] of cases) {
    const test = compileStringMatch({ kind: 'regex', value: pathTemplate(template, '').pattern });
    for (const each of good) t.ok(test(each), `${template} takes ${each}`);
    for (const each of bad) t.notOk(test(each), `${template} does not take ${each}`);
  }
  for (const bad of ['a', '/{', '/{1}', '/{a}/{a}', '/a*', '/**/a', '/{a=**}/b', '/{a}{b}{c}{d}{e}{f}', '/ü']) {
    t.equal(
      refusedField(() => pathTemplate(bad, 'f')),
      'f',
      bad,
    );
  }
  const template = pathTemplate('/{a}/{b=**}', '');
  t.equal(templateSubstitution('/x/{b}/{a}', template, ''), '/x/\\2/\\1');
  t.throws(() => templateSubstitution('/x/{c}', template, ''), /a, b/);
  const config = { name: 't', typed_config: pack(uriTemplateMatchConfigSchema, { path_template: '/{a}/{b=**}' }) };
  const rewrite = {
    name: 't',
    typed_config: pack(uriTemplateRewriteConfigSchema, { path_template_rewrite: '/{b}/{a}' }),
  };
  const [route] = routes([
    { match: { path_match_policy: config }, route: { cluster: 'a', path_rewrite_policy: rewrite } },
  ]);
  t.strictSame(route?.rewrite, { pathRegex: { pattern: `^${template.pattern}$`, substitution: '/\\2/\\1' } });
});

t.test('a prefix that ends between segments is replaced as such', async (t) => {
  const rewritten = routes([{ match: { path_separated_prefix: '/a' }, route: { cluster: 'a', prefix_rewrite: '/b' } }]);
  t.strictSame(
    rewritten.map(({ matches, rewrite }) => [matches[0]?.path, rewrite?.pathPrefix]),
    [
      [{ kind: 'exact', value: '/a' }, '/b'],
      [{ kind: 'prefix', value: '/a/' }, '/b/'],
    ],
  );
});

t.test('how long calls may take', async (t) => {
  const timeout = (route: Action, profile: 'istio' | 'grpc' = 'istio') =>
    routes([{ match: { prefix: '/' }, route: { cluster: 'a', ...route } }], {}, profile)[0]?.timeoutMs;
  t.equal(timeout({}), 15_000, "Envoy's, where nothing is said");
  t.equal(timeout({ timeout: 0 }), undefined);
  t.equal(timeout({ timeout: 3_000 }), 3_000);
  t.equal(timeout({ max_stream_duration: { max_stream_duration: 2_000 } }), 2_000);
  t.equal(timeout({ timeout: 3_000, max_stream_duration: { max_stream_duration: 2_000 } }), 2_000);
  t.equal(timeout({ max_stream_duration: { max_stream_duration: 0, grpc_timeout_header_max: 0 } }), undefined);
  t.equal(timeout({}, 'grpc'), undefined, 'gRPC has no default');
  t.equal(timeout({ timeout: 3_000 }, 'grpc'), undefined, 'gRPC does not look at it (A31)');
  t.equal(timeout({ max_stream_duration: { max_stream_duration: 2_000 } }, 'grpc'), 2_000);
  t.equal(
    timeout({ max_stream_duration: { max_stream_duration: 2_000, grpc_timeout_header_max: 1_000 } }, 'grpc'),
    1_000,
  );
});

t.test('retries', async (t) => {
  const retry = (retry_policy: NonNullable<Action['retry_policy']>, more: Action = {}) =>
    routes([{ match: { prefix: '/' }, route: { cluster: 'a', retry_policy, ...more } }])[0];
  const previous = [{ name: 'envoy.retry_host_predicates.previous_hosts' }];
  t.strictSame(retry({ retry_on: '5xx, reset' })?.retry, {
    attempts: 1,
    retryOn: ['5xx', 'reset'],
    retriableStatusCodes: [],
    backoffBaseMs: 25,
    ignorePreviousHosts: false,
  });
  t.equal(retry({ retry_on: '5xx', num_retries: 0 })?.retry, undefined);
  t.equal(retry({ retry_on: 'unheard-of' })?.retry, undefined);
  t.strictSame(
    retry({
      retry_on: 'retriable-headers',
      num_retries: 4,
      per_try_timeout: 100,
      per_try_idle_timeout: 50,
      retriable_headers: [{ name: 'X-Again', exact_match: '1' }],
      retry_back_off: { base_interval: 10, max_interval: 100 },
      retry_host_predicate: previous,
      retry_priority: { name: 'envoy.retry_priorities.previous_priorities' },
    }),
    {
      matches: [],
      destinations: [{ cluster: 'a', weight: 1 }],
      timeoutMs: 15_000,
      perTryIdleMs: 50,
      retry: {
        attempts: 4,
        perTryTimeoutMs: 100,
        retryOn: ['retriable-headers'],
        retriableStatusCodes: [],
        retriableHeaders: [{ name: 'x-again', match: { kind: 'exact', value: '1' } }],
        backoffBaseMs: 10,
        otherPriorities: true,
      },
    },
  );
  const sticky: Action = { hash_policy: [{ connection_properties: { source_ip: true } }] };
  t.equal(retry({ retry_on: '5xx' }, sticky)?.retry?.ignorePreviousHosts, 'unreached');
  t.notOk('ignorePreviousHosts' in (retry({ retry_on: '5xx', retry_host_predicate: previous }, sticky)?.retry ?? {}));
  const hedge = retry({ retry_on: '5xx', per_try_timeout: 10 }, { hedge_policy: { hedge_on_per_try_timeout: true } });
  t.strictSame(hedge?.hedge, { when: { kind: 'perTryTimeout' } });
  const ofHost = routes([{ match: { prefix: '/' }, route: { cluster: 'a' } }], {
    virtual_hosts: [{ name: 'h', domains: ['h'], retry_policy: { retry_on: '5xx', num_retries: 7 } }],
  });
  t.equal(ofHost[0]?.retry?.attempts, 7, 'the virtual host speaks for routes that say nothing');
});

const add = (key: string, value: string) => ({ header: { key, value } });
const set = (key: string, value: string) => ({
  header: { key, value },
  append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' as const,
});

t.test('edits of headers, level over level as Envoy has them', async (t) => {
  const route: RouteInput = {
    match: { prefix: '/' },
    route: { cluster: 'a', timeout: 0 },
    request_headers_to_add: [set('X-Set', 'route'), add('x-add', 'route'), add('x-gone', 'route')],
    response_headers_to_remove: ['Server'],
  };
  const host = {
    name: 'h',
    domains: ['h'],
    routes: [route],
    request_headers_to_add: [set('x-set', 'host'), add('x-add', 'host')],
    request_headers_to_remove: ['x-gone'],
  };
  const general = { request_headers_to_add: [add('x-add', 'all')], virtual_hosts: [host] };
  t.strictSame(routes([], general)[0]?.headers, {
    request: {
      set: [{ name: 'x-set', value: 'host' }],
      add: [
        { name: 'x-add', value: 'route' },
        { name: 'x-add', value: 'host' },
        { name: 'x-add', value: 'all' },
      ],
      remove: ['x-gone'],
    },
    response: { set: [], add: [], remove: ['server'] },
  });
  t.strictSame(routes([], { ...general, most_specific_header_mutations_wins: true })[0]?.headers?.request?.set, [
    { name: 'x-set', value: 'route' },
  ]);
  const one = (option: NonNullable<RouteInput['request_headers_to_add']>[number]) =>
    routes([{ ...go, match: { prefix: '/' }, request_headers_to_add: [option] }])[0];
  t.strictSame(one({ ...add('a', 'b'), append_action: 'ADD_IF_ABSENT' })?.headers?.request, {
    set: [],
    add: [{ name: 'a', value: 'b', when: 'absent' }],
    remove: [],
  });
  t.strictSame(one({ ...add('a', 'b'), append_action: 'OVERWRITE_IF_EXISTS' })?.headers?.request, {
    set: [{ name: 'a', value: 'b', when: 'present' }],
    add: [],
    remove: [],
  });
  t.strictSame(one({ ...add('a', ''), keep_empty_value: true })?.headers?.request?.add, [
    { name: 'a', value: '', keepEmpty: true },
  ]);
  t.equal(one({ ...add('host', 'b'), append_action: 'ADD_IF_ABSENT' })?.rewrite, undefined, 'there always is one');
  t.equal(one({ ...add('host', 'b'), append_action: 'OVERWRITE_IF_EXISTS' })?.rewrite?.authority, 'b');
  t.strictSame(one({ ...add('a', 'b'), append: false })?.headers?.request?.set, [{ name: 'a', value: 'b' }]);
  t.strictSame(one({ ...add('a', 'ü'), append: true })?.headers?.request?.add, [{ name: 'a', value: 'Ã¼' }]);
  t.equal(one(add('a', ''))?.headers, undefined);
  t.equal(one(set('host', 'b.example.com'))?.rewrite?.authority, 'b.example.com');
  // Of one level all that replaces comes before what is added, and conditions look at what there was.
  const level = (...options: NonNullable<RouteInput['request_headers_to_add']>) =>
    routes([{ ...go, match: { prefix: '/' }, request_headers_to_add: options }])[0]?.headers?.request;
  const absent = { ...add('a', 'x'), append_action: 'ADD_IF_ABSENT' as const };
  const present = { ...add('a', 'y'), append_action: 'OVERWRITE_IF_EXISTS' as const };
  t.strictSame(level(add('a', 'b'), set('a', 'c'), absent), {
    set: [{ name: 'a', value: 'c' }],
    add: [
      { name: 'a', value: 'b' },
      { name: 'a', value: 'x', when: 'absent' },
    ],
    remove: [],
  });
  // Of two levels the second sees what the first has done.
  const two = (inner: readonly ReturnType<typeof add>[], outer: readonly ReturnType<typeof add>[]) =>
    routes([], {
      virtual_hosts: [
        {
          name: 'h',
          domains: ['h'],
          routes: [{ ...go, match: { prefix: '/' }, request_headers_to_add: [...inner] }],
          request_headers_to_add: [...outer],
        },
      ],
    })[0]?.headers?.request;
  t.strictSame(two([add('a', 'b')], [absent])?.add, [{ name: 'a', value: 'b' }]);
  t.strictSame(two([add('a', 'b')], [present]), { set: [{ name: 'a', value: 'y' }], add: [], remove: [] });
  t.strictSame(two([absent], [present]), { set: [{ name: 'a', value: 'y' }], add: [], remove: [] });
  t.strictSame(two([present], [absent]), {
    set: [{ name: 'a', value: 'y', when: 'present' }],
    add: [{ name: 'a', value: 'x', when: 'absent' }],
    remove: [],
  });
  t.strictSame(two([add('a', '%REQ(b)%')], [absent])?.add.length, 2, 'a value that may turn out to be nothing');
});

t.test('splits, redirects, answers, faults, CORS and filters', async (t) => {
  const weighted = (clusters: NonNullable<NonNullable<Action['weighted_clusters']>['clusters']>) =>
    routes([{ match: { prefix: '/' }, route: { weighted_clusters: { clusters }, timeout: 0 } }])[0];
  t.strictSame(
    weighted([
      { name: 'a', weight: 1 },
      { name: 'b', weight: 0 },
      { name: 'c', weight: 3, host_rewrite_literal: 'c.example.com' },
    ])?.destinations,
    [
      { cluster: 'a', weight: 1 },
      {
        cluster: 'c',
        weight: 3,
        headers: { request: { add: [], remove: [], set: [{ name: 'host', value: 'c.example.com' }] } },
      },
    ],
  );
  const only = weighted([{ name: 'a', weight: 5, request_headers_to_add: [set('x', '1')] }]);
  t.strictSame(only?.destinations, [{ cluster: 'a', weight: 5 }]);
  t.strictSame(only?.headers?.request?.set, [{ name: 'x', value: '1' }]);
  const answer = (route: RouteInput) => routes([{ match: { prefix: '/' }, ...route }])[0];
  t.strictSame(answer({ redirect: { https_redirect: true, port_redirect: 443 } })?.redirect, {
    status: 301,
    scheme: 'https',
  });
  t.strictSame(answer({ redirect: { prefix_rewrite: '/b', response_code: 'FOUND' } }), {
    matches: [{ path: prefix }],
    destinations: [],
    redirect: { status: 302, path: { value: '/b', prefix: true } },
  });
  t.strictSame(answer({ non_forwarding_action: {} })?.direct, { status: 503 });
  t.strictSame(answer({ filter_action: {} })?.direct, { status: 503 });
  t.strictSame(answer({ route: { cluster_header: 'x' } })?.direct, { status: 503 });
  t.strictSame(answer({ direct_response: { status: 200, body: { inline_bytes: new Uint8Array([1]) } } })?.direct, {
    status: 200,
    body: new Uint8Array([1]),
  });
  const fault = (value: Parameters<typeof pack<NonNullable<typeof httpFaultSchema.type>>>[1]) =>
    answer({ ...go, typed_per_filter_config: new Map([['envoy.filters.http.fault', pack(httpFaultSchema, value)]]) })
      ?.fault;
  const all = { numerator: 100 };
  t.strictSame(fault({ abort: { grpc_status: 14, percentage: all }, max_active_faults: 3 }), {
    abort: { status: 200, grpcStatus: 14, percent: 100 },
    level: 'call',
    maxActive: 3,
  });
  t.strictSame(fault({ abort: { header_abort: {}, percentage: { numerator: 5 } } }), {
    level: 'call',
    byHeaders: { maxPercent: 5 },
  });
  t.equal(fault({ abort: { http_status: 500, percentage: all }, upstream_cluster: 'b' }), undefined);
  t.equal(fault({ delay: { fixed_delay: 10 } }), undefined, 'without a share it is for no request');
  const off = answer({
    ...go,
    typed_per_filter_config: new Map([
      ['envoy.filters.http.cors', pack(corsPolicySchema, { filter_enabled: { default_value: { numerator: 0 } } })],
    ]),
  });
  t.equal(off?.cors, undefined);
});

t.test('what is hashed, in order', async (t) => {
  const hash_policy: NonNullable<Action['hash_policy']> = [
    { header: { header_name: 'X-User' }, terminal: true },
    { query_parameter: { name: 'u' } },
    { cookie: { name: 'c', attributes: [{ name: 'SameSite', value: 'Strict' }] } },
    { connection_properties: { source_ip: true } },
    { filter_state: { key: 'k' } },
  ];
  const [route] = read([{ match: { prefix: '/' }, route: { cluster: 'a', hash_policy } }]).hosts[0]?.routes ?? [];
  t.strictSame(route?.hashKeys, [
    { kind: 'header', name: 'x-user', terminal: true },
    { kind: 'query', name: 'u' },
    { kind: 'cookie', name: 'c', path: '', attributes: [{ name: 'SameSite', value: 'Strict' }] },
    { kind: 'sourceIp' },
  ]);
});

t.test('what cannot be used is refused by the name of the field', async (t) => {
  const at = (match: Match): readonly RouteInput[] => [{ ...go, match }];
  const act = (route: Action): readonly RouteInput[] => [{ match: { prefix: '/' }, route }];
  const cases: readonly (readonly [field: string, routes: readonly RouteInput[]])[] = [
    ['virtual_hosts[0].routes[0].match', [go]],
    ['virtual_hosts[0].routes[0].match', at({})],
    ['virtual_hosts[0].routes[0].match.safe_regex.regex', at({ safe_regex: { regex: '(' } })],
    ['virtual_hosts[0].routes[0].match.path_separated_prefix', at({ path_separated_prefix: '/a/' })],
    ['virtual_hosts[0].routes[0].match.path_match_policy.typed_config', at({ path_match_policy: { name: 'x' } })],
    ['virtual_hosts[0].routes[0].match.headers[0].name', at({ prefix: '/', headers: [{ name: '' }] })],
    [
      'virtual_hosts[0].routes[0].match.headers[0].string_match',
      at({ prefix: '/', headers: [{ name: 'a', string_match: {} }] }),
    ],
    [
      'virtual_hosts[0].routes[0].match.headers[0].range_match',
      at({ prefix: '/', headers: [{ name: 'a', range_match: { start: 0, end: 10 ** 15 + 2 } }] }),
    ],
    [
      'virtual_hosts[0].routes[0].match.query_parameters[0].present_match',
      at({ prefix: '/', query_parameters: [{ name: 'a', present_match: false }] }),
    ],
    ['virtual_hosts[0].routes[0]', [{ match: { prefix: '/' } }]],
    ['virtual_hosts[0].routes[0].route', act({})],
    ['virtual_hosts[0].routes[0].route.weighted_clusters.clusters', act({ weighted_clusters: {} })],
    [
      'virtual_hosts[0].routes[0].route.weighted_clusters.clusters',
      act({ weighted_clusters: { clusters: [{ name: 'a', weight: 0 }] } }),
    ],
    [
      'virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].name',
      act({ weighted_clusters: { clusters: [{ weight: 1 }] } }),
    ],
    [
      'virtual_hosts[0].routes[0].route.retry_policy.retry_back_off.base_interval',
      act({ cluster: 'a', retry_policy: { retry_on: '5xx', retry_back_off: {} } }),
    ],
    [
      'virtual_hosts[0].routes[0].route.retry_policy.retry_back_off.max_interval',
      act({ cluster: 'a', retry_policy: { retry_on: '5xx', retry_back_off: { base_interval: 10, max_interval: 5 } } }),
    ],
    [
      'virtual_hosts[0].routes[0].route.regex_rewrite.pattern.regex',
      act({ cluster: 'a', regex_rewrite: { pattern: { regex: '[' } } }),
    ],
    [
      'virtual_hosts[0].routes[0].route.request_mirror_policies[0].runtime_fraction.default_value.denominator',
      act({
        cluster: 'a',
        request_mirror_policies: [
          { cluster: 'b', runtime_fraction: { default_value: { numerator: 1, denominator: 9 } } },
        ],
      }),
    ],
    [
      'virtual_hosts[0].routes[0].request_headers_to_add[0].header.key',
      [{ ...go, match: { prefix: '/' }, request_headers_to_add: [add('a b', 'c')] }],
    ],
    [
      'virtual_hosts[0].routes[0].request_headers_to_add[0].header.value',
      [{ ...go, match: { prefix: '/' }, request_headers_to_add: [add('a', 'b\nc')] }],
    ],
    [
      'virtual_hosts[0].routes[0].direct_response.status',
      [{ match: { prefix: '/' }, direct_response: { status: 99 } }],
    ],
    [
      'virtual_hosts[0].routes[0].direct_response.body',
      [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'x'.repeat(5_000) } } }],
    ],
    [
      'virtual_hosts[0].routes[0].redirect.port_redirect',
      [{ match: { prefix: '/' }, redirect: { port_redirect: 70_000 } }],
    ],
  ];
  for (const [field, given] of cases)
    t.equal(
      refusedField(() => read(given)),
      field,
    );
  const domains =
    (...all: readonly (readonly string[])[]) =>
    () =>
      readRouteFor('istio')(
        pack(routeConfigurationSchema, {
          name: 'r',
          virtual_hosts: all.map((each, index) => ({ name: `h${index}`, domains: each })),
        }),
      );
  t.equal(refusedField(domains(['a', 'A'])), 'virtual_hosts[0].domains[1]');
  t.equal(refusedField(domains(['*'], ['*'])), 'virtual_hosts[1].domains[0]');
  t.equal(refusedField(domains(['a*b'])), 'virtual_hosts[0].domains[0]');
  t.equal(refusedField(domains([''])), 'virtual_hosts[0].domains[0]');
  t.equal(refusedField(domains([])), 'virtual_hosts[0].domains');
});

t.test('what has no effect, or another one, is said by the name of the field', async (t) => {
  const remarks = (route: RouteInput, more: Input<RouteConfiguration> = {}) =>
    read([{ match: { prefix: '/' }, ...route }], more).remarks.map(
      ({ field, status }) => `${status} ${field.replace('virtual_hosts[0].routes[0].', '')}`,
    );
  const act = (route: Action): RouteInput => ({ route: { cluster: 'a', timeout: 0, ...route } });
  const cases: readonly (readonly [expected: string, route: RouteInput])[] = [
    [
      'ignored match.runtime_fraction',
      { ...go, match: { prefix: '/', runtime_fraction: { default_value: { numerator: 1 } } } },
    ],
    ['ignored route.cluster_header', { route: { cluster_header: 'x' } }],
    ['ignored route.auto_host_rewrite', act({ auto_host_rewrite: true })],
    ['ignored route.host_rewrite_header', act({ host_rewrite_header: 'x' })],
    ['ignored route.idle_timeout', act({ idle_timeout: 5 })],
    ['ignored route.retry_policy.retry_on', act({ retry_policy: { retry_on: 'x,5xx' } })],
    [
      'approximated route.retry_policy.retry_back_off.max_interval',
      act({ retry_policy: { retry_on: '5xx', retry_back_off: { base_interval: 1, max_interval: 2 } } }),
    ],
    [
      'ignored route.retry_policy.retry_host_predicate[0]',
      act({ retry_policy: { retry_on: '5xx', retry_host_predicate: [{ name: 'canary' }] } }),
    ],
    [
      'ignored route.retry_policy.retriable_request_headers',
      act({ retry_policy: { retry_on: '5xx', retriable_request_headers: [{ name: 'a' }] } }),
    ],
    ['ignored route.hash_policy[0]', act({ hash_policy: [{ filter_state: { key: 'k' } }] })],
    ['ignored route.request_mirror_policies[0]', act({ request_mirror_policies: [{ cluster_header: 'x' }] })],
    ['ignored redirect.strip_query', { redirect: { strip_query: true } }],
    ['ignored non_forwarding_action', { non_forwarding_action: {} }],
    [
      'ignored request_headers_to_add[0].header.value',
      { ...go, request_headers_to_add: [add('a', '%UNKNOWN_THING%')] },
    ],
    [
      'ignored typed_per_filter_config["x"]',
      { ...go, typed_per_filter_config: new Map([['x', { type_url: 'a/b.C', value: undefined }]]) },
    ],
  ];
  for (const [expected, route] of cases) t.strictSame(remarks(route), [expected], expected);
  const { ignored } = readRouteFor('istio')(
    pack(routeConfigurationSchema, { name: 'r', virtual_hosts: [{ name: 'h', domains: ['h'], require_tls: 'ALL' }] }),
  );
  t.strictSame(ignored, []);
});

t.test('any bytes and any damage end in a value or in an error that says where', async () => {
  const good = pack(routeConfigurationSchema, {
    name: '80',
    virtual_hosts: [
      {
        name: 'h',
        domains: ['a', '*.b', '*'],
        routes: [
          {
            match: { safe_regex: { regex: '/a' }, headers: [{ name: 'x', range_match: { start: 1, end: 9 } }] },
            route: {
              weighted_clusters: { clusters: [{ name: 'a', weight: 1 }] },
              retry_policy: { retry_on: '5xx', retry_back_off: { base_interval: 5 } },
            },
          },
          { match: { prefix: '/' }, direct_response: { status: 200 } },
        ],
      },
    ],
  });
  const bytes = good.value ?? new Uint8Array();
  const survives = (value: Uint8Array): boolean => {
    try {
      readRouteFor('istio')({ type_url: good.type_url, value });
      return true;
    } catch (error) {
      return error instanceof ResourceError && error.message !== '';
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), survives), { numRuns: 300 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (changes) => {
        const copy = bytes.slice();
        for (const [index, value] of changes) copy[index] = value;
        return survives(copy);
      },
    ),
    { numRuns: 500 },
  );
});
