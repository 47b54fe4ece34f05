import type { CelNames, CelValue } from '../lib/cel.ts';
import { grpcStatusOf } from '../lib/grpc-answer.ts';
import { isSecretName, redacted } from '../lib/redact.ts';
import { callAttributeType } from '../model/call-attributes.ts';
import { type AccessRecord, loggedHeader, loggedPath } from './access-record.ts';

type Read = (record: AccessRecord) => CelValue;
type Entry = (record: AccessRecord, name: string) => string | undefined;

/** For expressions that decide: they see what was asked for, and what was answered. */
export const recordNames: CelNames<AccessRecord> = names(
  ({ target }) => target,
  (record, name) => record.requestHeader(name),
  (record, name) => record.responseHeader(name),
);

/** For expressions that are shown: without values of queries, and without secrets. */
export const shownNames: CelNames<AccessRecord> = names(
  ({ target }) => loggedPath(target, 'redact'),
  (record, name) => shown(name, record.requestHeader(name)),
  (record, name) => shown(name, record.responseHeader(name)),
);

function shown(name: string, value: string | undefined): string | undefined {
  return value !== undefined && isSecretName(name) ? redacted : loggedHeader(name, value, 'redact');
}

function names(path: (record: AccessRecord) => string, header: Entry, answered: Entry): CelNames<AccessRecord> {
  const requestHeader: Entry = (record, name) => {
    const lower = name.toLowerCase();
    if (lower === ':path') return some(path(record));
    if (lower === ':method') return some(record.method);
    if (lower === ':authority' || lower === 'host') return some(record.authority);
    return header(record, lower);
  };
  const entries: Readonly<Record<string, Entry>> = {
    'request.headers': requestHeader,
    'response.headers': (record, name) => {
      const lower = name.toLowerCase();
      if (lower === ':status') return record.status === 0 ? undefined : String(record.status);
      return answered(record, lower);
    },
  };
  const readers: Readonly<Record<string, Read>> = {
    'request.path': (record) => some(path(record)),
    'request.url_path': (record) => some(path(record).split('?', 1)[0] ?? ''),
    'request.query': (record) => queryOf(path(record)),
    'request.host': ({ authority }) => some(authority),
    'request.method': ({ method }) => some(method),
    'request.referer': (record) => header(record, 'referer'),
    'request.useragent': (record) => header(record, 'user-agent'),
    'request.id': (record) => header(record, 'x-request-id'),
    'request.protocol': ({ protocol }) => some(protocol),
    'request.size': (record) => contentLength(record) ?? record.bytesReceived,
    'request.duration': ({ durationMs }) => durationMs,
    'response.code': ({ status }) => (status === 0 ? undefined : status),
    'response.code_details': ({ details }) => some(details),
    'response.flags': ({ flags }) => bitsOf(flags),
    // As Envoy: what is none of gRPC has what its status of HTTP means there.
    'response.grpc_status': ({ grpcStatus, status }) =>
      grpcStatus !== -1 ? grpcStatus : status === 0 ? undefined : grpcStatusOf(status),
    'response.size': ({ bytesSent }) => bytesSent,
    'connection.mtls': ({ peer }) => peer !== '',
    'connection.requested_server_name': ({ serverName }) => serverName,
    'connection.uri_san_peer_certificate': ({ peer }) => some(peer),
    'source.address': ({ remoteAddress }) => some(remoteAddress),
    'source.port': ({ remoteAddress }) => portOf(remoteAddress),
    'destination.address': ({ localAddress }) => some(localAddress),
    'destination.port': ({ localPort }) => (localPort === 0 ? undefined : localPort),
    'upstream.address': ({ upstreamHost }) => some(upstreamHost),
    'upstream.port': ({ upstreamHost }) => portOf(upstreamHost),
    'upstream.request_attempt_count': ({ tries }) => tries,
    'upstream.transport_failure_reason': ({ transportFailure }) => transportFailure,
    'xds.cluster_name': ({ upstreamCluster }) => some(upstreamCluster),
    'xds.route_name': ({ routeName }) => routeName,
  };
  return {
    typeOf: callAttributeType,
    read: (name) => readers[name] as Read,
    readEntry: (name) => entries[name] as Entry,
  };
}

const some = (text: string): string | undefined => (text === '' ? undefined : text);

/** As Envoy has it: without a fragment, and '' where there is none. */
function queryOf(target: string): string {
  const at = target.indexOf('?');
  return at === -1 ? '' : (target.slice(at + 1).split('#', 1)[0] ?? '');
}

function contentLength(record: AccessRecord): number | undefined {
  const length = record.requestHeader('content-length');
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

function portOf(address: string): number | undefined {
  const port = /:(\d+)$/.exec(address)?.[1];
  return port === undefined ? undefined : Number(port);
}

/** Envoy's flags, each at its bit. */
const flagBits: readonly string[] =
  'LH UH UT LR UR UF UC UO NR DI FI RL UAEX RLSE DC URX SI IH DPE UMSDR RFCF NFCF DT UPE NC OM DF DO DR UDO'.split(' ');

function bitsOf(flags: string): number {
  let bits = 0;
  for (const flag of flags.split(',')) {
    const at = flagBits.indexOf(flag);
    if (at !== -1) bits += 2 ** at;
  }
  return bits;
}
