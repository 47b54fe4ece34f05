/**
 * Milliseconds of a `grpc-timeout` header: at most eight digits and a unit of `HMSmun` (gRPC over
 * HTTP/2). Infinity for what cannot be read, and for none.
 */
export function grpcTimeoutMs(text: string | undefined): number {
  if (text === undefined || text.length < 2 || text.length > 9) return Number.POSITIVE_INFINITY;
  return wholeNumber(text, text.length - 1) * unitMs(text.charAt(text.length - 1));
}

/** The header for this many milliseconds, in the finest unit in which it fits. */
export function grpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  if (whole <= most) return `${whole}m`;
  const seconds = Math.floor(whole / 1_000);
  return seconds <= most ? `${seconds}S` : `${Math.min(most, Math.floor(seconds / 60))}M`;
}

const most = 99_999_999;

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
export function wholeNumber(text: string, count: number): number {
  if (count < 1 || count > 16) return Number.POSITIVE_INFINITY;
  let value = 0;
  for (let i = 0; i < count; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return Number.POSITIVE_INFINITY;
    value = value * 10 + digit;
  }
  return value;
}
