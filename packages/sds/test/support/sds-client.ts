import { Client, type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import type { Test } from 'tap';
import {
  type DiscoveryRequest,
  type DiscoveryResponse,
  readAny,
  readDiscoveryResponse,
  secretType,
  writeDiscoveryRequest,
} from '../../src/discovery.ts';
import { type ReadSecret, readSecret } from '../../src/secret.ts';
import { eachField, message, writeMessage, writeString } from '../../src/wire.ts';

const raw = (value: Buffer): Buffer => value;
const service = '/envoy.service.secret.v3.SecretDiscoveryService';

/** One stream of a client, as an Envoy would open it. */
export interface TestStream {
  readonly stream: ClientDuplexStream<Buffer, Buffer>;
  /** The next answer that was not taken yet, or the error with which the stream ended. */
  next(): Promise<Buffer | ServiceError>;
  /** Answers that came and were not taken. */
  waiting(): number;
}

/** What an Envoy can ask. */
export interface SdsClient {
  stream(): TestStream;
  delta(): TestStream;
  fetch(request: Buffer): Promise<Buffer | ServiceError>;
}

/** A client of secrets on a socket. */
export function sdsClient(t: Test, path: string): SdsClient {
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const open = (method: string): TestStream => {
    const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(`${service}/${method}`, raw, raw);
    const arrived: (Buffer | ServiceError)[] = [];
    let wake = (): void => {};
    const add = (what: Buffer | ServiceError): void => {
      arrived.push(what);
      wake();
    };
    stream.on('data', add);
    stream.on('error', add);
    t.teardown(() => stream.cancel());
    return {
      stream,
      waiting: () => arrived.length,
      async next() {
        if (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        return arrived.shift() as Buffer | ServiceError;
      },
    };
  };
  return {
    stream: () => open('StreamSecrets'),
    delta: () => open('DeltaSecrets'),
    fetch: (request: Buffer) =>
      new Promise<Buffer | ServiceError>((resolve) => {
        client.makeUnaryRequest(`${service}/FetchSecrets`, raw, raw, request, (error, answer) =>
          resolve(error ?? (answer as Buffer)),
        );
      }),
  };
}

export function ask(names: readonly string[], more: Partial<DiscoveryRequest> = {}): Buffer {
  return writeDiscoveryRequest({
    versionInfo: '',
    nodeId: 'envoy',
    resourceNames: names,
    typeUrl: secretType,
    responseNonce: '',
    ...more,
  });
}

export function askDelta(fields: {
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly initial?: Readonly<Record<string, string>>;
  readonly nonce?: string;
  readonly error?: string;
}): Buffer {
  return message((writer) => {
    writeMessage(writer, 1, (node) => writeString(node, 1, 'envoy'));
    writeString(writer, 2, secretType);
    for (const name of fields.subscribe ?? []) writeString(writer, 3, name);
    for (const name of fields.unsubscribe ?? []) writeString(writer, 4, name);
    for (const [name, version] of Object.entries(fields.initial ?? {})) {
      writeMessage(writer, 5, (entry) => {
        writeString(entry, 1, name);
        writeString(entry, 2, version);
      });
    }
    writeString(writer, 6, fields.nonce ?? '');
    if (fields.error !== undefined) writeMessage(writer, 7, (status) => writeString(status, 2, fields.error ?? ''));
  });
}

/** An answer with its secrets. */
export function secretsIn(
  what: Buffer | ServiceError,
): DiscoveryResponse & { readonly secrets: readonly ReadSecret[] } {
  if (!Buffer.isBuffer(what)) throw what;
  const response = readDiscoveryResponse(what);
  return { ...response, secrets: response.resources.map(readSecret) };
}

/** An incremental answer. */
export interface DeltaAnswer {
  readonly system: string;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly secrets: readonly { readonly name: string; readonly version: string; readonly secret: ReadSecret }[];
}

/** An incremental answer with its secrets. */
export function deltaIn(what: Buffer | ServiceError): DeltaAnswer {
  if (!Buffer.isBuffer(what)) throw what;
  const secrets: { name: string; version: string; secret: ReadSecret }[] = [];
  const found = { system: '', typeUrl: '', nonce: '' };
  eachField(what, {
    1: (reader) => void (found.system = reader.string()),
    2: (reader) => {
      let [name, version, secret] = ['', '', undefined as ReadSecret | undefined];
      eachField(reader.bytes(), {
        1: (inner) => void (version = inner.string()),
        2: (inner) => void (secret = readSecret(readAny(inner.bytes()))),
        3: (inner) => void (name = inner.string()),
      });
      secrets.push({ name, version, secret: secret as ReadSecret });
    },
    4: (reader) => void (found.typeUrl = reader.string()),
    5: (reader) => void (found.nonce = reader.string()),
  });
  return { ...found, secrets };
}
