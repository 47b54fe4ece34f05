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
  return Math.min(wholeMs(expected), grpcMs(grpcTimeout));
}

function wholeMs(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const ms = digits(text, text.length);
  return ms > longestMs ? Number.POSITIVE_INFINITY : ms;
}

function grpcMs(text: string | undefined): number {
  if (text === undefined || text.length < 2 || text.length > 9) return Number.POSITIVE_INFINITY;
  const ms = digits(text, text.length - 1) * unitMs(text.charAt(text.length - 1));
  return ms > longestMs ? Number.POSITIVE_INFINITY : ms;
}

function unitMs(unit: string): number {
  switch (unit) {
    case 'H':
      return 3_600_000;
    case 'M':
      return 60_000;
    case 'S':
      return 1_000;
    case 'm':
      return 1;
    case 'u':
      return 1 / 1_000;
    case 'n':
      return 1 / 1_000_000;
    default:
      return Number.POSITIVE_INFINITY;
  }
}

/** The number that the first `count` characters write, or infinity when they are not 1 to 16 digits. */
function digits(text: string, count: number): number {
  if (count < 1 || count > 16) return Number.POSITIVE_INFINITY;
  let value = 0;
  for (let i = 0; i < count; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return Number.POSITIVE_INFINITY;
    value = value * 10 + digit;
  }
  return value;
}
