import t from 'tap';
import { checkValidity, type ValidityCase } from './validity.ts';

const header = { apiVersion: 'networking.istio.io/v1alpha3', kind: 'EnvoyFilter' };
const patch = 'patch: {operation: MERGE, value: {a: 1}}';
const one = (text: string): string => `{configPatches: [{${text}}]}`;
const manager = 'envoy.filters.network.http_connection_manager';
const filter = (applyTo: string, text: string): string =>
  one(`applyTo: ${applyTo}, match: {listener: {filterChain: {filter: {${text}}}}}, ${patch}`);

const cases: readonly ValidityCase[] = [
  ['an empty one', '{}'],
  ['a selector', '{workloadSelector: {labels: {app: a}}}'],
  ['a selector with a wildcard', '{workloadSelector: {labels: {app: "a*"}}}', /labels\.app: must be a label value/],
  ['a selector of the other API', '{workloadSelector: {matchLabels: {app: a}}}', /matchLabels: is not a/],
  ['a target', '{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: a}]}'],
  [
    'a target beside a selector',
    '{workloadSelector: {labels: {a: b}}, targetRefs: [{kind: Service, name: a}]}',
    /only one of workloadSelector and targetRefs/,
  ],
  ['a priority', '{priority: -10}'],
  ['a patch', one(`applyTo: CLUSTER, ${patch}`)],
  ['a patch without applyTo', one(patch), /configPatches\[0\]: needs applyTo/],
  ['applyTo INVALID', one(`applyTo: INVALID, ${patch}`), /needs applyTo/],
  ['an unknown applyTo', one(`applyTo: SERVER, ${patch}`), /applyTo: must be one of/],
  ['applyTo without a patch', one('applyTo: CLUSTER'), /configPatches\[0\]: needs a patch/],
  ['a patch without an operation', one('applyTo: CLUSTER, patch: {value: {}}'), /needs patch\.operation/],
  [
    'an operation without a value',
    one('applyTo: CLUSTER, patch: {operation: ADD}'),
    /patch: needs a value for the operation ADD/,
  ],
  ['REMOVE without a value', one('applyTo: CLUSTER, patch: {operation: REMOVE}')],
  ['MERGE_AND_REPLACE_LIST', one('applyTo: CLUSTER, patch: {operation: MERGE_AND_REPLACE_LIST, value: {}}')],
  ['a filter class', one('applyTo: HTTP_FILTER, patch: {operation: ADD, filterClass: AUTHZ, value: {}}')],
  ['a proxy version', one(`applyTo: CLUSTER, match: {proxy: {proxyVersion: "^1\\\\.9.*"}}, ${patch}`)],
  [
    'a proxy version that is no pattern',
    one(`applyTo: CLUSTER, match: {proxy: {proxyVersion: "1.(9"}}, ${patch}`),
    /proxyVersion: must be a regular expression/,
  ],
  ['a cluster match for a cluster', one(`applyTo: CLUSTER, match: {cluster: {service: a.b}}, ${patch}`)],
  [
    'a listener match for a cluster',
    one(`applyTo: CLUSTER, match: {listener: {}}, ${patch}`),
    /match\.listener: must be cluster/,
  ],
  ['a listener match for a filter', one(`applyTo: HTTP_FILTER, match: {listener: {portNumber: 80}}, ${patch}`)],
  [
    'a cluster match for a filter',
    one(`applyTo: NETWORK_FILTER, match: {cluster: {}}, ${patch}`),
    /match\.cluster: must be listener/,
  ],
  [
    'a route match for a route',
    one(`applyTo: HTTP_ROUTE, match: {routeConfiguration: {vhost: {route: {action: ANY}}}}, ${patch}`),
  ],
  [
    'a listener match for a virtual host',
    one(`applyTo: VIRTUAL_HOST, match: {listener: {}}, ${patch}`),
    /must be routeConfiguration/,
  ],
  [
    'two matches',
    one(`applyTo: CLUSTER, match: {cluster: {}, listener: {}}, ${patch}`),
    /only one of listener and cluster/,
  ],
  ['a filter match', filter('NETWORK_FILTER', 'name: a')],
  ['a filter match without a name', filter('NETWORK_FILTER', 'subFilter: {name: a}'), /filter: needs a name to match/],
  ['a sub-filter match', filter('HTTP_FILTER', `name: ${manager}, subFilter: {name: a}`)],
  [
    'a sub-filter of a network filter',
    filter('NETWORK_FILTER', `name: ${manager}, subFilter: {name: a}`),
    /subFilter: is only for applyTo HTTP_FILTER/,
  ],
  [
    'a sub-filter of another filter',
    filter('HTTP_FILTER', 'name: a, subFilter: {name: b}'),
    /name: must be envoy\.filters/,
  ],
  ['a sub-filter without a name', filter('HTTP_FILTER', `name: ${manager}, subFilter: {}`), /subFilter: needs a name/],
  ['a waypoint', one('applyTo: HTTP_FILTER, match: {context: WAYPOINT, waypoint: {}}, patch: {operation: REMOVE}')],
  ['a waypoint without anything else', one('match: {context: WAYPOINT, waypoint: {}}')],
  ['a target of another kind', '{targetRefs: [{kind: HTTPRoute, name: a}]}'],
  [
    'a proxy version that is too long to be looked at',
    one(`applyTo: CLUSTER, match: {proxy: {proxyVersion: "${'('.repeat(1025)}"}}, ${patch}`),
  ],
  [
    'a patch with a name that is no text',
    one('applyTo: HTTP_FILTER, patch: {operation: MERGE, value: {name: 1}}'),
    /patch\.value\.name: must be a text/,
  ],
  ['a bootstrap with a name', one('applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {name: 1}}')],
  [
    'a waypoint elsewhere',
    one('applyTo: HTTP_FILTER, match: {context: GATEWAY, waypoint: {}}, patch: {operation: REMOVE}'),
    /match: must have waypoint with the context WAYPOINT/,
  ],
  [
    'a listener at a waypoint',
    one('applyTo: HTTP_FILTER, match: {context: WAYPOINT, listener: {}}, patch: {operation: REMOVE}'),
    /must have waypoint/,
  ],
  [
    'a waypoint port 65536',
    one('applyTo: HTTP_FILTER, match: {context: WAYPOINT, waypoint: {portNumber: 65536}}, patch: {operation: REMOVE}'),
    /portNumber: must be an integer/,
  ],
  [
    'a typed configuration',
    one(
      'applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, unknown: [1]}}}',
    ),
  ],
  [
    'a typed configuration without a type',
    one('applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: {a: 1}}}'),
    /typed_config: needs the field @type/,
  ],
  [
    'a type of API version 2',
    one(
      'applyTo: HTTP_FILTER, patch: {operation: ADD, value: {typedConfig: {"@type": type.googleapis.com/envoy.config.filter.http.lua.v2.Lua}}}',
    ),
    /@type"\]: is a type of Envoy/,
  ],
];

checkValidity(t, header, cases);
