import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';

/** A call of `CreateCertificate`, as an agent of Istio makes it. */
export interface IstioCall {
  readonly csr: string;
  readonly validitySeconds?: number | bigint;
  /** Text members of the metadata of the request. */
  readonly members?: Readonly<Record<string, string>>;
  readonly token?: string;
  readonly clusterId?: string;
  readonly ca: string;
  /** Client certificate and key, PEM. */
  readonly cert?: string;
  readonly key?: string;
}

/** What came back: the chain, or a status. */
export interface IstioReply {
  readonly code: number;
  readonly details: string;
  readonly chain: readonly string[];
}

export const istioPath = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/** The bytes of an `IstioCertificateRequest`. */
export function istioRequest({ csr, members, validitySeconds }: Omit<IstioCall, 'ca'>): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(csr);
  if (validitySeconds !== undefined) writer.tag(3, WireType.Varint).int64(validitySeconds);
  if (members !== undefined) {
    writer.tag(4, WireType.LengthDelimited).fork();
    for (const [name, value] of Object.entries(members)) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(name);
      writer.tag(2, WireType.LengthDelimited).fork();
      writer.tag(3, WireType.LengthDelimited).string(value).join();
      writer.join();
    }
    writer.join();
  }
  return Buffer.from(writer.finish());
}

/** The certificates of an `IstioCertificateResponse`. */
export function istioChain(bytes: Uint8Array): readonly string[] {
  const chain: string[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    reader.tag();
    chain.push(reader.string());
  }
  return chain;
}

/** One call through grpc-js, over a connection of its own. */
export function callIstio(port: number, call: IstioCall): Promise<IstioReply> {
  return callRaw(port, call, istioRequest(call));
}

/** The same with bytes, whatever they are, to any path. */
export function callRaw(
  port: number,
  call: Omit<IstioCall, 'csr'>,
  message: Buffer,
  path: string = istioPath,
): Promise<IstioReply> {
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  const client = new Client(`127.0.0.1:${port}`, credentials.createSsl(pem(call.ca), pem(call.key), pem(call.cert)), {
    'grpc.use_local_subchannel_pool': 1,
    // Newer releases of Node refuse an address as the name of a server.
    'grpc.ssl_target_name_override': 'localhost',
  });
  const metadata = new Metadata();
  if (call.token !== undefined) metadata.set('authorization', `Bearer ${call.token}`);
  if (call.clusterId !== undefined) metadata.set('ClusterID', call.clusterId);
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, same, same, message, metadata, (error: ServiceError | null, answer?: Buffer) => {
      client.close();
      if (error !== null) resolve({ code: error.code, details: error.details, chain: [] });
      else resolve({ code: 0, details: '', chain: istioChain(answer ?? Buffer.alloc(0)) });
    });
  });
}
