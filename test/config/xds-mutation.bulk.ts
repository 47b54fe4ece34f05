// What the readers of resources take, the mesh can work with: else one bad byte of a control plane, which is no reason
// for them to refuse a resource, would fail the calls of a whole host.
import t from 'tap';
import { compileResources, readers } from '../../packages/xds/src/compile/compile.ts';
import { type Any, pack } from '../../packages/xds/src/proto/any.ts';
import { corsPolicySchema, httpFaultSchema } from '../../packages/xds/src/proto/envoy/http-filters.ts';
import { ResourceError, type ResourceSet, resourceTypes } from '../../packages/xds/src/resources.ts';
import { chains, http, rbac, router, tcp, virtualInbound } from '../../packages/xds/test/compile/inbound-listeners.ts';
import {
  httpListener,
  istioCluster,
  istioContext,
  istioEndpoints,
  resourceSet,
} from '../../packages/xds/test/support/envoy.ts';
import { compileRbac } from '../../src/authz/rbac.ts';
import { compileCors } from '../../src/cors/decide.ts';
import { planFault } from '../../src/fault/decide.ts';
import { compileEdits } from '../../src/route/header-edits.ts';
import { createHostTable } from '../../src/route/host-table.ts';
import { compileVirtualHost } from '../../src/route/matcher.ts';
import { compileRedirect } from '../../src/route/redirect.ts';
import { compilePathRewrite } from '../../src/route/rewrite.ts';

const mutations = 2_000;
const share = { numerator: 10, denominator: 'HUNDRED' };
const policies = new Map([
  [
    'ns[shop]-policy[p]-rule[0]',
    {
      permissions: [
        {
          or_rules: {
            rules: [
              { url_path: { path: { prefix: '/api' } } },
              { header: { name: ':method', string_match: { exact: 'GET' } } },
              { header: { name: 'x', range_match: { start: 1, end: 9 } } },
              { destination_ip: { address_prefix: '10.0.0.0', prefix_len: 8 } },
            ],
          },
        },
      ],
      principals: [{ authenticated: { principal_name: { safe_regex: { regex: '.*/ns/a/.*' } } } }],
    },
  ],
]);
const filters = new Map([
  [
    'envoy.filters.http.fault',
    pack(httpFaultSchema, { abort: { http_status: 503, percentage: share }, delay: { fixed_delay: 10 } } as never),
  ],
  [
    'envoy.filters.http.cors',
    pack(corsPolicySchema, { allow_origin_string_match: [{ safe_regex: { regex: 'a.*' } }], max_age: '20' } as never),
  ],
]);
const routes = [
  {
    match: {
      prefix: '/a',
      headers: [
        { name: 'x', string_match: { exact: 'Abc', ignore_case: true } },
        { name: 'y', range_match: { start: 1, end: 90 } },
      ],
      query_parameters: [{ name: 'q', string_match: { safe_regex: { regex: 'a+' } } }],
    },
    route: {
      cluster: 'c',
      prefix_rewrite: '/b',
      retry_policy: { retry_on: '5xx', num_retries: 2, retriable_headers: [{ name: 'r', exact_match: 'x' }] },
    },
    request_headers_to_add: [{ header: { key: 'k', value: 'v%REQ(x)%' }, append_action: 'ADD_IF_ABSENT' }],
    typed_per_filter_config: filters,
  },
  { match: { safe_regex: { regex: '/x/[a-z]+' } }, redirect: { host_redirect: 'h', path_redirect: '/p' } },
  {
    match: { path_separated_prefix: '/z' },
    route: {
      weighted_clusters: { clusters: [{ name: 'c', weight: 1 }] },
      regex_rewrite: { pattern: { regex: '/(.*)' }, substitution: '/q/\\1' },
    },
  },
];
const name = 'outbound|80||a.b';
const plain = resourceSet({
  listeners: [httpListener(80)],
  routes: [{ name: '80', virtual_hosts: [{ name: 'a', domains: ['a.b', '*.c:80'], routes }] }] as never,
  clusters: [
    {
      ...istioCluster(name),
      outlier_detection: { consecutive_5xx: 3, interval: 1_000 },
      health_checks: [{ timeout: 10, interval: 10, http_health_check: { path: '/' } }],
    } as never,
  ],
  endpoints: [istioEndpoints(name, [['10.0.0.1', 80]])],
});
const inbound = virtualInbound([
  ...chains(8_080, 'STRICT', http([rbac({ action: 'DENY', policies } as never), router])),
  ...chains(undefined, 'PERMISSIVE', tcp),
]);
const good: ResourceSet = { ...plain, listeners: new Map([...plain.listeners, ['virtualInbound', inbound]]) };

/** All that is made of a snapshot before, or when, it is used. */
function use(set: ResourceSet): void {
  const { snapshot } = compileResources(set, { ...istioContext }, '1');
  createHostTable(snapshot);
  for (const host of [...snapshot.hosts.values(), ...snapshot.wildcardHosts.map(({ virtualHost }) => virtualHost)]) {
    compileVirtualHost(host);
    for (const { cors, fault, headers, redirect, rewrite } of host.routes) {
      compileEdits(headers, undefined, true);
      if (rewrite !== undefined) compilePathRewrite(rewrite);
      if (redirect !== undefined) compileRedirect(redirect);
      if (cors !== undefined) compileCors(cors);
      if (fault !== undefined) planFault(fault);
    }
  }
  compileRbac(snapshot.inbound.rbac ?? []);
}

t.test('whatever bytes of resources become, they are refused, or they can be worked with', async (t) => {
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const marks = Buffer.from('%\\()[]{}*+?|^$/:.,;-_ a9\r\n\0');
  let taken = 0;
  for (let i = 0; i < mutations; i++) {
    const type = resourceTypes[random(resourceTypes.length + 1)] ?? 'routes';
    const all = [...good[type]];
    const [key, { type_url, value = new Uint8Array() }] = all[random(all.length)] as [string, Any];
    const bytes = Uint8Array.from(value);
    for (let changes = random(3); changes >= 0; changes--) {
      bytes[random(bytes.length)] = (random(2) === 0 ? random(256) : marks[random(marks.length)]) as number;
    }
    const any = { type_url, value: bytes };
    try {
      readers[type](any);
    } catch (error) {
      if (!(error instanceof ResourceError)) t.fail(`mutation ${i} of ${type}: ${String(error)}`);
      continue;
    }
    taken++;
    try {
      use({ ...good, [type]: new Map([...good[type], [key, any]]) });
    } catch (error) {
      t.fail(`mutation ${i} of ${type} was taken: ${String(error)}`);
    }
  }
  t.ok(taken > mutations / 10 && taken < mutations, `${taken} were taken`);
});
