import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * The messages of `envoy.service.ratelimit.v3.RateLimitService`, as far as they matter here: field
 * numbers of Envoy's API. What is unknown in an answer is passed over, as protobuf has it.
 */

/** `RateLimitRequest`. */
export interface RateLimitRequest {
  readonly domain: string;
  readonly descriptors: readonly (readonly { readonly key: string; readonly value: string }[])[];
}

/** `RateLimitResponse`. */
export interface RateLimitResponse {
  readonly code: Code;
  readonly statuses: readonly DescriptorStatus[];
  readonly responseHeaders: readonly (readonly [string, string])[];
  readonly requestHeaders: readonly (readonly [string, string])[];
}

/** `RateLimitResponse.DescriptorStatus`. */
export interface DescriptorStatus {
  readonly code: Code;
  /** `current_limit.requests_per_unit`; absent when no limit is for the descriptor. */
  readonly limit?: number;
  readonly remaining: number;
  /** `duration_until_reset`. */
  readonly resetMs: number;
}

/** `RateLimitResponse.Code`; what is neither is UNKNOWN. */
export type Code = 'OK' | 'OVER_LIMIT' | 'UNKNOWN';

export function writeRequest({ descriptors, domain }: RateLimitRequest): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(domain);
  for (const entries of descriptors) {
    writer.tag(2, WireType.LengthDelimited).fork();
    for (const { key, value } of entries) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(key);
      writer.tag(2, WireType.LengthDelimited).string(value);
      writer.join();
    }
    writer.join();
  }
  return Buffer.from(writer.finish());
}

/** @throws Error when the bytes are no message */
export function readResponse(bytes: Uint8Array): RateLimitResponse {
  let code: Code = 'UNKNOWN';
  const statuses: DescriptorStatus[] = [];
  const responseHeaders: (readonly [string, string])[] = [];
  const requestHeaders: (readonly [string, string])[] = [];
  eachField(bytes, {
    1: (reader) => void (code = codeOf(reader.int32())),
    2: (reader) => void statuses.push(readStatus(reader.bytes())),
    3: (reader) => void responseHeaders.push(readHeader(reader.bytes())),
    4: (reader) => void requestHeaders.push(readHeader(reader.bytes())),
  });
  return { code, statuses, responseHeaders, requestHeaders };
}

function readStatus(bytes: Uint8Array): DescriptorStatus {
  let code: Code = 'UNKNOWN';
  let limit: number | undefined;
  let remaining = 0;
  let resetMs = 0;
  eachField(bytes, {
    1: (reader) => void (code = codeOf(reader.int32())),
    2: (reader) => eachField(reader.bytes(), { 1: (inner) => void (limit = inner.uint32()) }),
    3: (reader) => void (remaining = reader.uint32()),
    4: (reader) => void (resetMs = readDuration(reader.bytes())),
  });
  return { code, remaining, resetMs, ...(limit === undefined ? {} : { limit }) };
}

/** `google.protobuf.Duration` in milliseconds. */
function readDuration(bytes: Uint8Array): number {
  let ms = 0;
  eachField(bytes, {
    1: (reader) => void (ms += Number(reader.int64()) * 1_000),
    2: (reader) => void (ms += reader.int32() / 1_000_000),
  });
  return ms;
}

/** `envoy.config.core.v3.HeaderValue`. */
function readHeader(bytes: Uint8Array): readonly [string, string] {
  let name = '';
  let value = '';
  eachField(bytes, {
    1: (reader) => void (name = reader.string()),
    2: (reader) => void (value = reader.string()),
    3: (reader) => void (value = Buffer.from(reader.bytes()).toString('latin1')),
  });
  return [name, value];
}

function codeOf(number: number): Code {
  if (number === 1) return 'OK';
  return number === 2 ? 'OVER_LIMIT' : 'UNKNOWN';
}

function eachField(bytes: Uint8Array, known: Readonly<Record<number, (reader: BinaryReader) => void>>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const read = known[number];
    if (read === undefined) reader.skip(type, number);
    else read(reader);
  }
}
