import { isIP } from 'node:net';
import { decideFault } from '../fault/decide.ts';
import { decideMirrors } from '../mirror/decide.ts';
import type { Cluster, Endpoint, HashKey } from '../model/cluster.ts';
import type { Fault, Mirror, RetryPolicy } from '../model/route.ts';
import { clusterParts } from './destinations.ts';
import type { OutboundQuestion } from './request.ts';
import type {
  ExplainedAbort,
  ExplainedFault,
  ExplainedHash,
  ExplainedMirror,
  ExplainedRetries,
  ExplainedTls,
} from './result.ts';

export function explainRetries(retry: RetryPolicy | undefined): ExplainedRetries {
  if (retry === undefined || retry.attempts <= 0) {
    return { attempts: 0, retryOn: [], retriableStatusCodes: [], backoffBaseMs: 25 };
  }
  const { attempts, perTryTimeoutMs, retryOn, retriableStatusCodes, backoffBaseMs } = retry;
  return {
    attempts,
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
    retryOn,
    retriableStatusCodes,
    backoffBaseMs,
  };
}

export function explainFault(fault: Fault | undefined, random: number): ExplainedFault | undefined {
  // What callers may ask for by headers is not said: it depends on who calls.
  if (fault === undefined || (fault.delay === undefined && fault.abort === undefined)) return undefined;
  const decision = decideFault(fault, random);
  const { delay, abort } = fault;
  return {
    ...(decision.delayMs > 0 ? { delayMs: decision.delayMs } : {}),
    ...(decision.abort === undefined ? {} : { abort: statusOf(decision.abort) }),
    level: fault.level,
    configured: {
      ...(delay === undefined ? {} : { delay: { delayMs: delay.delayMs, percentage: delay.percent } }),
      ...(abort === undefined ? {} : { abort: { ...statusOf(abort), percentage: abort.percent } }),
    },
  };
}

function statusOf({ grpcStatus, status }: NonNullable<Fault['abort']>): ExplainedAbort {
  return grpcStatus === undefined ? { httpStatus: status } : { grpcStatus };
}

export function explainMirrors(mirrors: readonly Mirror[], random: number): readonly ExplainedMirror[] {
  const falling = new Set(decideMirrors(mirrors, random));
  return mirrors.map((mirror) => ({
    ...clusterParts(mirror.cluster),
    percentage: mirror.percent,
    applies: falling.has(mirror),
  }));
}

/** What a consistent-hash balancer looks at. */
export function explainHash(key: HashKey | undefined): ExplainedHash | undefined {
  if (key === undefined) return undefined;
  switch (key.kind) {
    case 'header':
      return { header: key.name };
    case 'query':
      return { queryParameter: key.name };
    case 'sourceIp':
      return { sourceIp: true };
    default:
      return { cookie: key.name, path: key.path, ...(key.ttlMs === undefined ? {} : { ttlMs: key.ttlMs }) };
  }
}

/** How endpoints are spoken to, and which setting or fact decided that. */
export function explainTls(
  cluster: Cluster,
  { destinationIp, host }: Pick<OutboundQuestion, 'destinationIp' | 'host'>,
  withoutIdentity = false,
): { readonly tls: ExplainedTls; readonly note: string } {
  const { discovery, serverIdentities, tls } = cluster;
  const plain: ExplainedTls = { mode: 'DISABLE' };
  if (tls === 'disable') return { tls: plain, note: turnedOff };
  if (typeof tls === 'object') {
    const mode = tls.mode === 'mutual' ? 'MUTUAL' : 'SIMPLE';
    const sni = tls.serverName ?? host;
    const originated: ExplainedTls = { mode, ...(isIpAddress(sni) ? {} : { sni }), sans: tls.subjectAltNames };
    const anybody = tls.verify ? '' : ', and insecureSkipVerify: any server can pretend to be this one';
    const besides = tls.verifyHost === true ? `; the certificate must have ${host}, too` : '';
    return { tls: originated, note: tls.unavailable ?? `TLS: a DestinationRule says ${mode}${anybody}${besides}` };
  }
  const mutual: ExplainedTls = {
    mode: 'ISTIO_MUTUAL',
    sni: cluster.serverName ?? `outbound_.${cluster.port}_.${cluster.subset}_.${cluster.host}`,
    sans: serverIdentities,
  };
  if (tls === 'mutual') {
    const fails = withoutIdentity ? '. But this process has no identity of its own: calls fail' : '';
    return { tls: mutual, note: `mTLS: a DestinationRule says ISTIO_MUTUAL; never plaintext${fails}` };
  }
  if (withoutIdentity) {
    return { tls: plain, note: 'automatic mTLS: plaintext, since this process has no identity of its own' };
  }
  if (discovery.kind === 'original') {
    return discovery.speaksMtls === true
      ? { tls: mutual, note: 'automatic mTLS: every endpoint that the service has speaks it' }
      : { tls: plain, note: 'automatic mTLS: nothing is known of the address that is called, so plaintext' };
  }
  const named = discovery.endpoints.filter(({ address }) => address === destinationIp);
  const endpoints = named.length > 0 ? named : discovery.endpoints;
  const others = endpoints.filter(({ speaksMtls }) => !speaksMtls);
  if (others.length === 0 && endpoints.length > 0) {
    return { tls: mutual, note: 'automatic mTLS: every endpoint speaks it; never plaintext to one that does' };
  }
  const list = others.map(({ address, port }) => `${address}:${port}`).slice(0, 10);
  const why = whyPlaintext(others);
  if (others.length === endpoints.length) return { tls: plain, note: `automatic mTLS: plaintext, since ${why}` };
  return { tls: mutual, note: `automatic mTLS: ${list.join(', ')} would be spoken to in plaintext, since ${why}` };
}

const turnedOff =
  'plaintext: the service is outside of the mesh, a DestinationRule says DISABLE, or enableAutoMtls is false';

/** Istio's tlsMode, as istiod works it out for each endpoint. */
function whyPlaintext(endpoints: readonly Endpoint[]): string {
  if (endpoints.length === 0) return 'there are no endpoints';
  const label = 'security.istio.io/tlsMode';
  const values = new Set(endpoints.map(({ labels }) => labels[label]));
  if (values.size > 1) return `not all have the label ${label}: istio, or a PeerAuthentication turns mTLS off`;
  const [value] = values;
  if (value === 'istio') return 'a PeerAuthentication turns mTLS off';
  return value === undefined
    ? `nothing says that mTLS is spoken (label ${label}: istio, or serviceAccount of a WorkloadEntry), or a PeerAuthentication turns it off`
    : `the label ${label} says ${value}`;
}

/** An address is no server name (RFC 6066 section 3). */
function isIpAddress(host: string): boolean {
  return isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0;
}
