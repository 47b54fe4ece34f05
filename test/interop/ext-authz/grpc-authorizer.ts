import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Test } from 'tap';
import {
  encode,
  header,
  message,
  number,
  string as text,
  type Write,
} from '../../../packages/ext-authz/test/support/write-message.ts';
import type { Recording } from './asked.ts';

/** A message as numbers and contents. */
export interface Fields {
  readonly [field: number]: readonly unknown[];
}

interface Deep {
  readonly [field: number]: Deep;
}

const address = { 1: { 1: {} } };
/** The messages inside of a `CheckRequest`. */
const checkRequest: Deep = { 1: { 1: address, 2: address, 4: { 1: {}, 2: { 3: {} } }, 11: {}, 13: {} } };

/** A `CheckRequest` taken apart. */
export function fields(bytes: Uint8Array, deep: Deep = checkRequest): Fields {
  const reader = new BinaryReader(bytes);
  const found: Record<number, unknown[]> = {};
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const inner = deep[number];
    found[number] ??= [];
    if (type === WireType.Varint) found[number].push(Number(reader.int64()));
    else if (inner === undefined) found[number].push(reader.string());
    else found[number].push(fields(reader.bytes(), inner));
  }
  return found;
}

/** An authorizer over gRPC that keeps what it was asked last. */
export async function grpcAuthorizer(t: Test, answer: () => Uint8Array): Promise<Recording<Uint8Array>> {
  let last: Uint8Array = new Uint8Array(0);
  const server = new Server();
  const codec = {
    requestSerialize: Buffer.from,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: Buffer.from,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
  const path = '/envoy.service.auth.v3.Authorization/Check';
  const service = { check: { path, requestStream: false, responseStream: false, ...codec } };
  const check = (call: { request: Buffer }, done: (error: unknown, answer: Uint8Array) => void): void => {
    last = call.request;
    done(null, answer());
  };
  server.addService(service as never, { check } as never);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.teardown(() => server.forceShutdown());
  return { port, last: () => last };
}

const ok = message(1);
const denied = message(1, number(1, 7));
const append = message(2, number(1, 1));
const replace = message(2);
const action = (value: number): Write => number(3, value);

interface GrpcAnswer {
  readonly bytes: Uint8Array;
  /** What we make of it, where that is something else on purpose. */
  readonly ours?: { readonly reached: unknown };
}

/** `CheckResponse`s. */
export const answers: Readonly<Record<string, GrpcAnswer>> = {
  'an OK': { bytes: encode(ok) },
  'nothing at all': { bytes: encode() },
  'headers that replace': {
    bytes: encode(ok, message(3, header(2, 'x-there', 'ann', replace), header(2, 'x-new', '1', replace))),
  },
  'headers that are appended': {
    bytes: encode(ok, message(3, header(2, 'x-there', 'ann', append))),
  },
  'a header that says nothing of that': { bytes: encode(ok, message(3, header(2, 'x-there', 'ann'))) },
  // Envoy 1.40 knows no actions of these; the newest does.
  'headers with actions': {
    bytes: encode(
      ok,
      message(
        3,
        header(2, 'x-there', 'no', action(1)),
        header(2, 'x-new', '1', action(1)),
        header(2, 'x-none', 'no', action(3)),
      ),
    ),
    ours: {
      reached: [
        ['x-gone', '1'],
        ['x-new', '1'],
        ['x-there', 'mallory'],
      ],
    },
  },
  // As above: 1.40 appends to what is there, and adds nothing.
  'a header that is appended to none': {
    bytes: encode(ok, message(3, header(2, 'x-new', '1', append))),
    ours: {
      reached: [
        ['x-gone', '1'],
        ['x-new', '1'],
        ['x-there', 'mallory'],
      ],
    },
  },
  'a header that replaces by its action': {
    bytes: encode(ok, message(3, header(2, 'x-there', 'ann', action(2)))),
  },
  'headers that are removed': { bytes: encode(ok, message(3, text(5, 'x-gone'), text(5, 'host'), text(5, ':path'))) },
  'parameters of the query': {
    bytes: encode(ok, message(3, message(7, text(1, 'z'), text(2, '3')), text(8, 'r'))),
  },
  'headers for the response': {
    bytes: encode(ok, message(3, header(6, 'x-told', 'yes', append), header(6, 'x-told-too', 'a', replace))),
  },
  'a denial': { bytes: encode(denied) },
  'a denial in its own words': {
    bytes: encode(
      denied,
      message(
        2,
        message(1, number(1, 401)),
        header(2, 'www-authenticate', 'Basic', replace),
        header(2, 'set-cookie', 'a=1', replace),
        text(3, 'who are you?'),
      ),
    ),
  },
  'a denial beside an OK': { bytes: encode(ok, message(2, message(1, number(1, 401)))) },
  'an answer that is none': { bytes: Buffer.from('0a', 'hex') },
};
