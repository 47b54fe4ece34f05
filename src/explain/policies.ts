import { isIP } from 'node:net';
import { decideFault } from '../fault/decide.ts';
import { decideMirrors } from '../mirror/decide.ts';
import type { Cluster, HashKey } from '../model/cluster.ts';
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

/** How endpoints are spoken to, and what else to say about it. */
export function explainTls(
  cluster: Cluster,
  { destinationIp, host }: Pick<OutboundQuestion, 'destinationIp' | 'host'>,
): { readonly tls: ExplainedTls; readonly note?: string } {
  const { discovery, serverIdentities, tls } = cluster;
  const plain: ExplainedTls = { mode: 'DISABLE' };
  if (tls === 'disable') return { tls: plain };
  if (typeof tls === 'object') {
    const mode = tls.mode === 'mutual' ? 'MUTUAL' : 'SIMPLE';
    const sni = tls.serverName ?? host;
    const originated: ExplainedTls = { mode, ...(isIpAddress(sni) ? {} : { sni }), sans: tls.subjectAltNames };
    return tls.unavailable === undefined ? { tls: originated } : { tls: originated, note: tls.unavailable };
  }
  const mutual: ExplainedTls = {
    mode: 'ISTIO_MUTUAL',
    sni: cluster.serverName ?? `outbound_.${cluster.port}_.${cluster.subset}_.${cluster.host}`,
    sans: serverIdentities,
  };
  if (tls === 'mutual') return { tls: mutual };
  const all = discovery.kind === 'original' ? [] : discovery.endpoints;
  const named = all.filter(({ address }) => address === destinationIp);
  const endpoints = named.length > 0 ? named : all;
  const speaking = endpoints.filter(({ speaksMtls }) => speaksMtls);
  if (speaking.length === 0) return { tls: plain };
  if (speaking.length === endpoints.length) return { tls: mutual };
  const others = endpoints.filter(({ speaksMtls }) => !speaksMtls).map(({ address, port }) => `${address}:${port}`);
  return { tls: mutual, note: `automatic mTLS: ${others.slice(0, 10).join(', ')} would be spoken to in plaintext` };
}

/** An address is no server name (RFC 6066 section 3). */
function isIpAddress(host: string): boolean {
  return isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0;
}
