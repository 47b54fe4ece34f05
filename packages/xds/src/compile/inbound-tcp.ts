import type { Provenance, RbacFilter } from 'inmesh/model';
import type { NetworkFilter } from '../proto/envoy/listener.ts';
import { networkRbacSchema } from '../proto/envoy/rbac-filters.ts';
import { tcpProxySchema } from '../proto/envoy/tcp-proxy.ts';
import type { Steps } from '../turns.ts';
import type { RbacReader } from './inbound-rbac.ts';
import { below, cannot, type Place, typeIn, wrong } from './inbound-unpack.ts';

/** What network filters say about the connections of a port. */
export interface NetworkChain {
  readonly rbac: readonly RbacFilter[];
  /** The last of them: a HttpConnectionManager, or what hands the bytes on. */
  readonly last: { readonly type: string; readonly filter: NetworkFilter; readonly at: Place };
}

export const httpConnectionManager =
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const externalAuthorization = 'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz';

/** Filters that watch, and let everything pass. */
const observers: ReadonlySet<string> = new Set([
  'envoy.tcp.metadataexchange.config.MetadataExchange',
  'io.istio.network.authn.Config',
  'stats.PluginConfig',
]);

/** Reads the network filters of a chain. @throws ResourceError for one that may be there to refuse connections */
export function* networkChain(
  filters: readonly NetworkFilter[],
  provenance: Provenance,
  policies: RbacReader,
  place: Place,
): Steps<NetworkChain> {
  const rbac: RbacFilter[] = [];
  const read = filters.map((filter, i) => {
    const at = below(place, `filters[${i}].typed_config`);
    return { filter, at, type: filter.typed_config === undefined ? '' : typeIn(filter.typed_config) };
  });
  const last = read.at(-1);
  if (last === undefined) throw wrong(place, 'filters', 'expected at least one filter');
  if (last.type !== httpConnectionManager && last.type !== tcpProxySchema.name) {
    throw cannot(last.at, '', 'expected a HttpConnectionManager or a TcpProxy as the last filter', last.type);
  }
  for (const [i, { at, filter, type }] of read.slice(0, -1).entries()) {
    const origin = { ...provenance, field: at.path };
    if (type === networkRbacSchema.name) {
      const context = { provenance: origin, payload: undefined, connections: true };
      const { rules, shadow } = yield* policies(filter.typed_config, context, at);
      if (shadow !== undefined && read[i + 1]?.type === externalAuthorization) {
        // Nobody is asked about connections: what somebody would have to be asked about is refused.
        rbac.push({ provenance: origin, rules: { action: 'DENY', policies: shadow.policies } });
      } else if (shadow !== undefined) rbac.push({ provenance: origin, shadow });
      if (rules !== undefined) rbac.push({ provenance: origin, rules });
    } else if (type === externalAuthorization) {
      if (read[i - 1]?.type !== networkRbacSchema.name) {
        throw cannot(at, '', 'nobody can be asked about connections');
      }
      at.note('');
    } else if (observers.has(type)) at.note('');
    else throw cannot(at, '', 'expected a filter that is known here', type || filter.name);
  }
  return { rbac, last };
}
