import type { EnvoyFilterBody } from '../validate-envoy-filter.ts';
import type { Analyzer } from './context.ts';

const relative = new Set(['INSERT_BEFORE', 'INSERT_AFTER', 'REPLACE', 'MERGE', 'REMOVE']);
const inserting = new Set(['INSERT_BEFORE', 'INSERT_AFTER']);

/** EnvoyFilters whose operations have no effect, or one that depends on the order of resources. */
export const analyzeEnvoyFilters: Analyzer = (context) => {
  for (const resource of context.ofKind<EnvoyFilterBody & { spec: { priority?: number } }>('EnvoyFilter')) {
    const { configPatches = [], priority = 0 } = resource.body.spec;
    for (const [index, { applyTo = '', patch, match }] of configPatches.entries()) {
      const { operation = '' } = patch ?? {};
      const path = ['spec', 'configPatches', index, 'patch', 'operation'];
      const routes = applyTo === 'ROUTE_CONFIGURATION' || applyTo === 'HTTP_ROUTE';
      if (operation === 'REPLACE' && applyTo !== 'HTTP_FILTER' && applyTo !== 'NETWORK_FILTER') {
        context.report('IST0152', resource, path, `REPLACE has no effect on ${applyTo}, only on filters`);
      } else if (operation === 'ADD' && routes) {
        context.report('IST0153', resource, path, `ADD has no effect on ${applyTo}`);
      } else if (operation === 'REMOVE' && routes) {
        context.report('IST0154', resource, path, `REMOVE has no effect on ${applyTo}`);
      }
      if (priority !== 0) continue;
      if (relative.has(operation) && match?.proxy?.proxyVersion) {
        const message = `${operation} for one proxyVersion, without a priority, may be lost in an upgrade`;
        context.report('IST0155', resource, path, message);
      } else if (inserting.has(operation)) {
        const message = `${operation} without a priority depends on the order in which filters are applied`;
        context.report('IST0151', resource, path, message);
      }
    }
  }
};
