import { status } from '@grpc/grpc-js';
import { MeshError } from 'inmesh';
import { type GrpcRetry, RetryThrottleBucket } from 'inmesh/grpc';

/** What a service config says about one method. */
export interface MethodPolicy {
  /** Infinity: none. */
  readonly timeoutMs: number;
  readonly waitForReady: boolean | undefined;
  readonly retry: GrpcRetry | undefined;
  /** Bytes of a message; Infinity: what the channel says. */
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
}

/** A service config: gRPC's own words for what a client does with its calls (gRFC A2, A6). */
export interface ServiceConfig {
  /** `/package.Service/Method`. */
  policyOf(path: string): MethodPolicy | undefined;
  readonly throttle: RetryThrottleBucket | undefined;
  /** Fields that are there and decide nothing. */
  readonly ignored: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

const methodFields: ReadonlySet<string> = new Set([
  'name',
  'timeout',
  'waitForReady',
  'retryPolicy',
  'maxRequestBytes',
  'maxResponseBytes',
]);

/**
 * Reads the channel option `grpc.service_config`.
 *
 * @param retries `grpc.enable_retries`: without them `retryPolicy` is read, and not used.
 * @throws MeshError `ERR_MESH_OPTION_INVALID` with the field and what it must be
 */
export function readServiceConfig(text: string, retries: boolean): ServiceConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw invalid('', `must be JSON: ${(error as Error).message}`);
  }
  const config = fieldsOf(parsed, '');
  const ignored = Object.keys(config).filter((name) => name !== 'methodConfig' && name !== 'retryThrottling');
  const throttle = config['retryThrottling'] === undefined ? undefined : throttleOf(config['retryThrottling']);
  const policies = new Map<string, MethodPolicy>();
  listOf(config['methodConfig'] ?? [], 'methodConfig').forEach((entry, index) => {
    const at = `methodConfig[${index}]`;
    const fields = fieldsOf(entry, at);
    for (const name of Object.keys(fields)) if (!methodFields.has(name)) ignored.push(`${at}.${name}`);
    const policy = methodPolicy(fields, at, retries ? throttle : undefined, retries);
    for (const [i, name] of listOf(fields['name'] ?? [], `${at}.name`).entries()) {
      const key = keyOf(fieldsOf(name, `${at}.name[${i}]`), `${at}.name[${i}]`);
      if (policies.has(key)) throw invalid(`${at}.name[${i}]`, 'must be there once: another entry has the same name');
      policies.set(key, policy);
    }
  });
  return {
    policyOf: (path) =>
      policies.get(path) ?? policies.get(path.slice(0, path.lastIndexOf('/') + 1)) ?? policies.get(''),
    throttle: retries ? throttle : undefined,
    ignored,
  };
}

function keyOf({ method, service }: Fields, at: string): string {
  if (service === undefined || service === '') {
    if (method !== undefined && method !== '') throw invalid(at, 'names a method without its service');
    return '';
  }
  const parts = [service, method ?? ''];
  if (!parts.every((part) => typeof part === 'string')) throw invalid(at, 'must have texts');
  return `/${parts.join('/')}`;
}

function methodPolicy(
  fields: Fields,
  at: string,
  throttle: RetryThrottleBucket | undefined,
  retries: boolean,
): MethodPolicy {
  const { maxRequestBytes, maxResponseBytes, retryPolicy, timeout, waitForReady } = fields;
  if (waitForReady !== undefined && typeof waitForReady !== 'boolean') {
    throw invalid(`${at}.waitForReady`, 'must be true or false', waitForReady);
  }
  const retry =
    retryPolicy === undefined
      ? undefined
      : retryOf(fieldsOf(retryPolicy, `${at}.retryPolicy`), `${at}.retryPolicy`, throttle);
  return {
    timeoutMs: timeout === undefined ? Number.POSITIVE_INFINITY : durationMs(timeout, `${at}.timeout`),
    waitForReady,
    retry: retries ? retry : undefined,
    maxRequestBytes: bytesOf(maxRequestBytes, `${at}.maxRequestBytes`),
    maxResponseBytes: bytesOf(maxResponseBytes, `${at}.maxResponseBytes`),
  };
}

/** More tries than this are as many as this (gRFC A6). */
const mostAttempts = 5;

function retryOf(fields: Fields, at: string, throttle: RetryThrottleBucket | undefined): GrpcRetry {
  const { backoffMultiplier, initialBackoff, maxAttempts, maxBackoff, retryableStatusCodes } = fields;
  if (!Number.isInteger(maxAttempts) || (maxAttempts as number) < 2) {
    throw invalid(`${at}.maxAttempts`, 'must be a whole number of at least 2', maxAttempts);
  }
  if (typeof backoffMultiplier !== 'number' || !(backoffMultiplier > 0)) {
    throw invalid(`${at}.backoffMultiplier`, 'must be a number above 0', backoffMultiplier);
  }
  const codes = listOf(retryableStatusCodes, `${at}.retryableStatusCodes`);
  if (codes.length === 0) throw invalid(`${at}.retryableStatusCodes`, 'must not be empty');
  return {
    maxAttempts: Math.min(maxAttempts as number, mostAttempts),
    initialBackoffMs: positiveMs(initialBackoff, `${at}.initialBackoff`),
    maxBackoffMs: positiveMs(maxBackoff, `${at}.maxBackoff`),
    backoffMultiplier,
    retryableStatusCodes: new Set(codes.map((code) => codeOf(code, `${at}.retryableStatusCodes`))),
    throttle,
  };
}

function codeOf(code: unknown, at: string): number {
  const number = typeof code === 'string' ? (status as unknown as Fields)[code.toUpperCase()] : code;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 1 && number <= 16) return number;
  throw invalid(at, 'must name status codes other than OK', code);
}

function throttleOf(given: unknown): RetryThrottleBucket {
  const { maxTokens, tokenRatio } = fieldsOf(given, 'retryThrottling');
  if (typeof maxTokens !== 'number' || !(maxTokens > 0 && maxTokens <= 1_000)) {
    throw invalid('retryThrottling.maxTokens', 'must be above 0 and at most 1000', maxTokens);
  }
  if (typeof tokenRatio !== 'number' || !(tokenRatio > 0)) {
    throw invalid('retryThrottling.tokenRatio', 'must be above 0', tokenRatio);
  }
  return new RetryThrottleBucket({ maxTokens, tokenRatio });
}

function positiveMs(given: unknown, at: string): number {
  const ms = durationMs(given, at);
  if (ms > 0) return ms;
  throw invalid(at, 'must be above 0s', given);
}

/** `1.5s`, or the `{ seconds, nanos }` that grpc-js takes, too. */
function durationMs(given: unknown, at: string): number {
  if (typeof given === 'string' && /^\d{1,12}(\.\d{1,9})?s$/.test(given)) return Number(given.slice(0, -1)) * 1_000;
  if (typeof given === 'object' && given !== null) {
    const { nanos = 0, seconds = 0 } = given as Fields;
    if (typeof seconds === 'number' && typeof nanos === 'number') return seconds * 1_000 + nanos / 1_000_000;
  }
  throw invalid(at, 'must be a duration like "1.5s"', given);
}

function bytesOf(given: unknown, at: string): number {
  if (given === undefined) return Number.POSITIVE_INFINITY;
  if (typeof given === 'number' && given >= 0) return given;
  throw invalid(at, 'must be a number of bytes', given);
}

function fieldsOf(given: unknown, at: string): Fields {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Fields;
  throw invalid(at, 'must be an object', given);
}

function listOf(given: unknown, at: string): readonly unknown[] {
  if (Array.isArray(given)) return given;
  throw invalid(at, 'must be a list', given);
}

function invalid(at: string, what: string, given?: unknown): MeshError {
  const came = given === undefined ? '' : `, and is ${JSON.stringify(given).slice(0, 100)}`;
  return new MeshError('ERR_MESH_OPTION_INVALID', `grpc.service_config${at === '' ? '' : ` ${at}`} ${what}${came}`);
}
