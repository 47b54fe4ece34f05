import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { derChildren, readDer } from 'inmesh/identity';
import { keyPem, makeCertificate, makeKey, type TestAuthority, toPem } from '../../../../test/support/certificates.ts';

/** What a fake istiod was asked. */
export interface IstiodRequest {
  readonly csr: string;
  readonly publicKey: KeyObject;
  readonly validitySeconds: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly token: string | undefined;
  readonly clusterId: string | undefined;
  /** URI of the client certificate, when one was presented. */
  readonly client: string | undefined;
}

/** The elements of an answer, bytes as they are, a status, or nothing at all. */
export type IstiodAnswer = readonly string[] | Buffer | { readonly code: number; readonly details: string } | 'hang';

/** An istiod of few words on loopback. */
export interface FakeIstiod {
  readonly address: string;
  readonly requests: readonly IstiodRequest[];
  stop(): void;
  /** Serves again at the same address; to clients with a certificate only, if that is said. */
  start(clientsOnly?: boolean): Promise<void>;
}

const raw = (value: Buffer): Buffer => value;

/** Its certificate is for `istiod.istio-system.svc` unless `names` says otherwise. */
export async function fakeIstiod(
  authority: TestAuthority,
  answer: (request: IstiodRequest, index: number) => IstiodAnswer,
  names: readonly string[] = ['istiod.istio-system.svc', 'istio-pilot.istio-system.svc'],
): Promise<FakeIstiod> {
  const requests: IstiodRequest[] = [];
  const key = makeKey();
  const sans = names.map((dns) => ({ dns }));
  const certificate = makeCertificate(key, { sans, name: 'istiod' }, authority.signer);
  const pair = {
    cert_chain: Buffer.from(toPem(certificate) + authority.intermediatePem),
    private_key: Buffer.from(keyPem(key)),
  };
  let server: Server | undefined;
  let port = 0;
  const serve = async (clientsOnly = false): Promise<void> => {
    const next = new Server();
    next.addService(
      {
        createCertificate: {
          path: '/istio.v1.auth.IstioCertificateService/CreateCertificate',
          requestStream: false,
          responseStream: false,
          requestSerialize: raw,
          requestDeserialize: raw,
          responseSerialize: raw,
          responseDeserialize: raw,
        },
      },
      {
        createCertificate: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
          const request = readRequest(call.request, call.metadata, clientOf(call));
          requests.push(request);
          const given = answer(request, requests.length - 1);
          if (given === 'hang') return;
          if (Buffer.isBuffer(given)) done(null, given);
          else if ('code' in given) done(given);
          else done(null, answerOf(given));
        },
      },
    );
    const roots = Buffer.from(authority.rootPem);
    const credentials = ServerCredentials.createSsl(roots, [pair], clientsOnly);
    port = await new Promise<number>((resolve, reject) => {
      next.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    server = next;
  };
  await serve();
  return {
    address: `127.0.0.1:${port}`,
    requests,
    stop() {
      server?.forceShutdown();
      server = undefined;
    },
    start: serve,
  };
}

/** The answer of istiod to a request: a certificate for its key, intermediates, the root. */
export function issue(
  authority: TestAuthority,
  request: IstiodRequest,
  spiffeId: string,
  {
    notBefore = Date.now() - 120_000,
    notAfter = Date.now() + 3_600_000,
    roots = [authority.rootPem],
  }: { readonly notBefore?: number; readonly notAfter?: number; readonly roots?: readonly string[] } = {},
): readonly string[] {
  const leaf = makeCertificate(request.publicKey, { sans: [{ uri: spiffeId }], notBefore, notAfter }, authority.signer);
  const intermediates = authority.intermediatePem === '' ? [] : [authority.intermediatePem];
  return [toPem(leaf), ...intermediates, roots.join('')];
}

export function answerOf(elements: readonly string[]): Buffer {
  const writer = new BinaryWriter();
  for (const element of elements) writer.tag(1, WireType.LengthDelimited).string(element);
  return Buffer.from(writer.finish());
}

function readRequest(bytes: Buffer, sent: Metadata, client: string | undefined): IstiodRequest {
  const found = { csr: '', validitySeconds: 0, metadata: {} as Record<string, string> };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === 1) found.csr = reader.string();
    else if (number === 3) found.validitySeconds = Number(reader.int64());
    else if (number === 4) readStruct(reader.bytes(), found.metadata);
    else reader.skip(type, number);
  }
  const authorization = sent.get('authorization')[0]?.toString();
  return {
    ...found,
    publicKey: publicKeyOf(found.csr),
    token: authorization?.replace(/^Bearer /, ''),
    clusterId: sent.get('clusterid')[0]?.toString(),
    client,
  };
}

function readStruct(bytes: Uint8Array, into: Record<string, string>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    reader.tag();
    const entry = new BinaryReader(reader.bytes());
    entry.tag();
    const key = entry.string();
    entry.tag();
    const value = new BinaryReader(entry.bytes());
    value.tag();
    into[key] = value.string();
  }
}

function clientOf(call: ServerUnaryCall<Buffer, Buffer>): string | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate as
    | ReturnType<TLSSocket['getPeerCertificate']>
    | undefined;
  return certificate?.raw === undefined ? undefined : new X509Certificate(certificate.raw).subjectAltName;
}

function publicKeyOf(csr: string): KeyObject {
  const der = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  const [information] = derChildren(readDer(der));
  const spki = derChildren(information as NonNullable<typeof information>)[2];
  return createPublicKey({ key: spki?.bytes as Buffer, type: 'spki', format: 'der' });
}
