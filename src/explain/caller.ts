import type { AuthorizationFacts } from '../authz/facts.ts';
import type { InboundPolicy } from '../model/inbound.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import { mtlsModeOf } from '../mtls/mode.ts';
import type { ExplainCaller, ExplainTls } from './request.ts';
import type { InboundExplanation } from './result.ts';

/** A connection that is turned away before it could carry a request. */
export function connectionRefusal(
  { mtls }: InboundPolicy,
  port: number,
  tls: ExplainTls,
): Pick<InboundExplanation, 'decision' | 'reason' | 'policy' | 'at'> | undefined {
  const mode = mtlsModeOf(mtls, port);
  const by = mtls.provenance;
  const policy = by === undefined ? {} : { policy: `${by.namespace}/${by.name}`, at: by };
  if (mode === 'STRICT' && tls !== 'mtls') {
    const without = tls === 'tls' ? 'TLS without a client certificate' : 'plaintext';
    return {
      decision: 'reject',
      reason: `port ${port} accepts mTLS only (PeerAuthentication STRICT), and this is ${without}`,
      ...policy,
    };
  }
  if (mode === 'DISABLE' && tls !== 'plaintext') {
    return {
      decision: 'reject',
      reason: `port ${port} accepts plaintext only (PeerAuthentication DISABLE)`,
      ...policy,
    };
  }
  if (tls === 'tls') {
    const why = 'PERMISSIVE takes plaintext or mTLS, and this is TLS without a client certificate';
    return { decision: 'reject', reason: `port ${port}: ${why}`, ...policy };
  }
  return undefined;
}

const scheme = 'spiffe://';

/** Who the caller is by its certificate; a text when that is no identity. */
export function identityOf(from: ExplainCaller, trustDomain: string): AuthorizationFacts['peer'] | string {
  const { principal, namespace, serviceAccount = 'default' } = from;
  if (principal === undefined && namespace === undefined) return undefined;
  const uri =
    principal === undefined
      ? `${scheme}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
      : principal.startsWith(scheme)
        ? principal
        : scheme + principal;
  try {
    const { uri: spiffeId, trustDomain: domain, namespace: ns, serviceAccount: account } = parseSpiffeId(uri);
    return {
      spiffeId,
      trustDomain: domain,
      ...(ns === undefined || account === undefined ? {} : { namespace: ns, serviceAccount: account }),
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
