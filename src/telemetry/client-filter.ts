import type { Clock } from '../lib/clock.ts';
import { grpcStatusOf, isGrpc } from '../lib/grpc-answer.ts';
import { headerValue } from '../lib/header-list.ts';
import { CallMessages } from '../pipeline/call-messages.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import { failureFlag } from '../pipeline/failure-flag.ts';
import type { Filter } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { clientRecord } from './access-client-filter.ts';
import type { MetricTags } from './metric-tags.ts';
import { notGrpc } from './outcome.ts';
import type { Series } from './series.ts';

/** Counts each call once, when its last byte arrived or it failed, with the time of all its tries. */
export function clientMetricsFilter(
  clock: Clock,
  seriesOf: (call: ClientCall) => Series,
  tags?: MetricTags,
): Filter<ClientCall, Reply> {
  const watcher: CallWatcher = {
    callEnded(call, status, error) {
      const flag = error === undefined ? call.flag : addFlag(call.flag, failureFlag(error, call));
      const { requestBytes, responseBytes, startedAt } = call;
      const grpcStatus = status !== 200 && call.grpcStatus === notGrpc ? grpcFailure(call, status) : call.grpcStatus;
      const series = tags?.client?.seriesOf(seriesOf(call), clientRecord(clock, call, status, error)) ?? seriesOf(call);
      call.messages?.tell(series);
      series.record(status, flag, clock.now() - startedAt, requestBytes, responseBytes, grpcStatus);
    },
  };
  // What tags are made of is known at the end.
  const known = (call: ClientCall): Series | undefined => (tags?.client === undefined ? seriesOf(call) : undefined);
  return (call, next) => {
    if (ofGrpc(call)) call.messages = new CallMessages(known);
    call.watch(watcher);
    return next(call);
  };
}

/** Calls of gRPC are POST with a body: of others not one header is looked at. */
function ofGrpc({ request }: ClientCall): boolean {
  if (request.grpc !== undefined) return true;
  return request.method === 'POST' && request.body !== null && isGrpc(headerValue(request.headers, 'content-type'));
}

/** What an answer that is HTTP only, or none, means to a call of gRPC. */
function grpcFailure({ request }: ClientCall, status: number): number {
  return isGrpc(headerValue(request.headers, 'content-type')) ? grpcStatusOf(status === 0 ? 503 : status) : notGrpc;
}
