import { endpointFailures, MeshError } from '../errors.ts';
import { headerValue } from '../lib/header-list.ts';
import type {
  CallEndpoint,
  ClientCall,
  Reply,
  ResponseHeaders,
  StartWatcher,
  TryWatcher,
} from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import { statusOfGrpc } from './grpc-status.ts';

const localFailures: ReadonlySet<string> = new Set([...endpointFailures, 'ERR_MESH_TRY_TIMEOUT']);

/** What the filter tells outlier detection. */
export interface OutlierReports {
  /** A response with this status; 0 when the endpoint failed. */
  report(endpoint: CallEndpoint, status: number): void;
  /** A try has a connection. Absent where connections are not counted by themselves. */
  connected?(endpoint: CallEndpoint): void;
  /** `grpc-status` means nothing: status codes of HTTP say what a failure is. */
  readonly ignoreGrpc?: boolean;
}

/**
 * Tells the outlier detector how each try ended. What the mesh itself refuses (limits, faults, policies,
 * deadlines of callers), and what the application does, says nothing about the endpoint.
 */
export function outlierFilter({ report, connected, ignoreGrpc = false }: OutlierReports): Filter<ClientCall, Reply> {
  const watcher: TryWatcher = {
    tryReplied(call, status, headers) {
      if (call.endpoint === undefined) return;
      const grpc = ignoreGrpc ? undefined : headers['grpc-status'];
      report(call.endpoint, grpc === undefined ? status : statusOf(call, status, grpc));
    },
    tryEnded(call, error, status) {
      if (error === undefined || call.endpoint === undefined || call.cancelled) return;
      // What the application did (abort, bad header) says nothing about the endpoint.
      if (!(error instanceof MeshError)) return;
      // Nor does a time that was over while this process was busy with something else.
      if (call.stalled && error.status === 504) return;
      // Envoy: whoever lets the time of the route pass without an answer has failed. What is left
      // of a caller's time is not held against the endpoint: it may have been next to nothing.
      const silent = error.code === 'ERR_MESH_TIMEOUT' && status === 0;
      if (silent || localFailures.has(error.code)) report(call.endpoint, 0);
    },
  };
  if (connected === undefined) {
    return (call, next) => {
      call.watchTry(watcher);
      return next(call);
    };
  }
  const starts: StartWatcher = {
    tryStarted(call) {
      if (call.endpoint !== undefined) connected(call.endpoint);
    },
  };
  return (call, next) => {
    call.watchTry(watcher);
    call.startWatcher = starts;
    return next(call);
  };
}

/** As Envoy: of a gRPC request, a status among the headers counts; one in trailers does not. */
function statusOf(call: ClientCall, status: number, grpc: NonNullable<ResponseHeaders[string]>): number {
  const contentType = headerValue(call.request.headers, 'content-type') ?? '';
  const isGrpc = contentType === 'application/grpc' || contentType.startsWith('application/grpc+');
  return isGrpc ? statusOfGrpc(String(grpc)) : status;
}
