import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Peer } from '../pipeline/scope.ts';
import type { AccessRecord } from './access-record.ts';
import { addressText } from './access-server-record.ts';

const nothing: Omit<AccessRecord, 'direction' | 'startTimeMs'> = {
  durationMs: 0,
  method: '',
  target: '',
  authority: '',
  protocol: '',
  status: 0,
  flags: '',
  details: '',
  bytesReceived: undefined,
  bytesSent: undefined,
  upstreamHost: '',
  upstreamCluster: '',
  transportFailure: '',
  localPort: 0,
  localAddress: '',
  remoteAddress: '',
  peer: '',
  serverName: '',
  routeName: '',
  tries: 1,
  grpcStatus: -1,
  requestHeader: () => undefined,
  responseHeader: () => undefined,
};

/** What is known of a connection that this process has opened; of requests nothing. */
export function calledConnection(
  clock: Clock,
  { cluster, endpoint }: { readonly cluster: string; readonly endpoint: string },
): AccessRecord {
  const startTimeMs = clock.wallNow();
  return { ...nothing, direction: 'outbound', startTimeMs, upstreamHost: endpoint, upstreamCluster: cluster };
}

/** What is known of a connection that this process serves. */
export function servedConnection(clock: Clock, socket: Socket, peer: Peer | undefined): AccessRecord {
  const { localAddress, localPort = 0, remoteAddress, remotePort = 0 } = socket;
  const { servername } = socket as { servername?: unknown };
  return {
    ...nothing,
    direction: 'inbound',
    startTimeMs: clock.wallNow(),
    localPort,
    localAddress: addressText(localAddress, localPort),
    remoteAddress: addressText(remoteAddress, remotePort),
    peer: peer?.spiffeId ?? '',
    serverName: typeof servername === 'string' ? servername : '',
  };
}
