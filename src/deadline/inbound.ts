import { grpcTimeoutMs, wholeNumber } from '../lib/grpc-timeout.ts';

/** Longest wait that is taken from a header: longer ones mean no deadline (2^31-1 ms, 24 days). */
const longestMs = 2_147_483_647;

/**
 * Milliseconds that the caller still waits, from `x-envoy-expected-rq-timeout-ms` (whole
 * milliseconds, 0 included) and `grpc-timeout` (at most eight digits and a unit of `HMSmun`, gRPC
 * over HTTP/2). The shorter one counts; what cannot be read is ignored: a caller may only shorten.
 *
 * @returns infinity without a deadline
 */
export function callerTimeoutMs(expected: string | undefined, grpcTimeout: string | undefined): number {
  return Math.min(wholeMs(expected), bounded(grpcTimeoutMs(grpcTimeout)));
}

function wholeMs(text: string | undefined): number {
  return text === undefined ? Number.POSITIVE_INFINITY : bounded(wholeNumber(text, text.length));
}

function bounded(ms: number): number {
  return ms > longestMs ? Number.POSITIVE_INFINITY : ms;
}
