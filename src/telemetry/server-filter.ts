import type { Clock } from '../lib/clock.ts';
import { grpcStatusOf, isGrpc } from '../lib/grpc-answer.ts';
import { CallMessages, countAnswer, countRequest } from '../pipeline/call-messages.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { Peer } from '../pipeline/scope.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { SideLog } from './access-log.ts';
import { arrivalOf, serverRecord } from './access-server-record.ts';
import type { SeriesLabels } from './labels.ts';
import type { MetricTags } from './metric-tags.ts';
import type { Metrics } from './metrics.ts';
import { notCounted, notGrpc } from './outcome.ts';
import type { Series } from './series.ts';

/** Labels of the serving side that do not depend on who calls. */
export type ServerLabels = Omit<
  SeriesLabels,
  'reporter' | 'securityPolicy' | 'sourceWorkload' | 'sourceNamespace' | 'sourcePrincipal'
>;

/** So many callers are found without a look at the list of all series. */
const maxCallers = 1_000;

/** Labels of a caller: from its certificate, never from the request. Absent: it has shown none. */
export function callerLabels(
  peer: Peer | undefined,
): Pick<SeriesLabels, 'reporter' | 'sourceWorkload' | 'sourceNamespace' | 'sourcePrincipal' | 'securityPolicy'> {
  return {
    reporter: 'destination',
    sourceWorkload: 'unknown',
    sourceNamespace: peer?.namespace,
    sourcePrincipal: peer?.spiffeId ?? 'unknown',
    securityPolicy: peer === undefined ? 'none' : 'mutual_tls',
  };
}

/** The series of each caller, remembered by its SPIFFE ID. */
export function serverSeries(metrics: Metrics, labels: ServerLabels): (peer: Peer | undefined) => Series {
  const make = (peer: Peer | undefined): Series => metrics.series({ ...labels, ...callerLabels(peer) });
  let unknown: Series | undefined;
  const byPrincipal = new Map<string, Series>();
  return (peer) => {
    if (peer === undefined) return (unknown ??= make(undefined));
    let series = byPrincipal.get(peer.spiffeId);
    if (series === undefined) {
      if (byPrincipal.size >= maxCallers) byPrincipal.clear();
      byPrincipal.set(peer.spiffeId, (series = make(peer)));
    }
    return series;
  };
}

/**
 * Counts each request once: when its response is complete, or when the connection dies first
 * (flag DC; status 0 if no response had begun). Refusals of the filters inside count as well.
 */
export function serverMetricsFilter(
  clock: Clock,
  seriesOf: (peer: Peer | undefined) => Series,
  log?: SideLog,
  tags?: MetricTags,
): Filter<ServerCall, void> {
  // What tags are made of is known at the end.
  const known = ({ peer }: ServerCall): Series | undefined => (tags?.server === undefined ? seriesOf(peer) : undefined);
  return (call, next) => {
    call.observed = true;
    if (call.method === 'POST' && isGrpc(call.request.headers['content-type'])) countMessages(call, known);
    const { socket } = call.request;
    const readBefore = socket?.bytesRead ?? 0;
    const writtenBefore = socket?.bytesWritten ?? 0;
    const logged = log?.on === true;
    const tagged = tags?.server;
    const arrival = logged || tagged !== undefined ? arrivalOf(call) : undefined;
    const record = (): void => {
      const { response } = call;
      const status = response.headersSent ? response.statusCode : 0;
      const flag = response.writableFinished ? call.flag : 'DC';
      const counts = countsBytes(call);
      const received = counts ? requestBytes(call, socket.bytesRead - readBefore) : notCounted;
      const sent = counts ? Math.max(0, socket.bytesWritten - writtenBefore) : notCounted;
      const durationMs = clock.now() - call.startedAt;
      const grpc = grpcStatus(call, status);
      const series = seriesOf(call.peer);
      if (arrival === undefined) {
        tellMessages(call, series);
        series.record(status, flag, durationMs, received, sent, grpc);
        return;
      }
      const facts = serverRecord(clock, call, arrival, { status, flags: flag, received, sent, grpcStatus: grpc });
      const counting = tagged?.seriesOf(series, facts) ?? series;
      tellMessages(call, counting);
      counting.record(status, flag, durationMs, received, sent, grpc);
      if (logged) log.write(facts);
    };
    call.response.on('close', () => {
      // Who answers at once, and does not look at the body, is done before Node.js reads what came with the head.
      if (call.request.complete || !(announcedOf(call) > 0)) record();
      else setImmediate(record);
    });
    return next(call);
  };
}

/** Whoever serves a stream of HTTP/2 itself counts there: of the request that stands for it nothing is read. */
function countMessages(call: ServerCall, known: (call: ServerCall) => Series | undefined): void {
  const { request, response } = call;
  call.messages = new CallMessages(known);
  if (typeof request.read !== 'function') return;
  countRequest(call.messages, request);
  countAnswer(call.messages, response);
}

/** What the application was not given does not count, as behind a sidecar, whose policies are before its counters. */
function tellMessages({ handed, messages }: ServerCall, series: Series): void {
  if (handed) messages?.tell(series);
}

/** Is the socket that of this request alone, while it lasts? Not where streams of HTTP/2 share one. */
function countsBytes({ request }: ServerCall): boolean {
  return request.httpVersion !== '2.0' && request.socket?.bytesRead !== undefined;
}

/** What was read of a body; its first part came with the head, before anybody could look. */
function requestBytes(call: ServerCall, read: number): number {
  const announced = announcedOf(call);
  if (!(announced > 0)) return Math.max(0, read);
  // Who announces much and sends nothing has sent nothing.
  return call.request.complete ? announced : Math.min(announced, Math.max(0, read));
}

function announcedOf({ request }: ServerCall): number {
  return Number(request.headers['content-length'] ?? 0);
}

/** Nothing but gRPC has one. Who serves it says which; else it is what HTTP's status means to gRPC. */
function grpcStatus({ grpcStatus: told, request }: ServerCall, status: number): number {
  if (!isGrpc(request.headers['content-type'])) return notGrpc;
  return told === notGrpc ? grpcStatusOf(status) : told;
}
