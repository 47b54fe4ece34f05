import { Client, type ClientDuplexStream, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { MeshError, printable } from 'inmesh/identity';
import type { Access } from './credentials.ts';

/** Paths of the two protocols of the aggregated discovery service. */
export const methods = {
  sotw: '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources',
  delta: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
} as const;

export interface StreamParts {
  /** `host:port`, as gRPC takes it. */
  readonly address: string;
  readonly access: Access;
  readonly protocol: keyof typeof methods;
  /** Largest response, and most that may wait to be read by the control plane. */
  readonly maxMessageBytes: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The connection is there: what was sent is on its way. */
  connected(): void;
  message(bytes: Uint8Array): void;
  /** Called once; why it ended, in words for people. */
  closed(reason: MeshError): void;
}

/** One stream, on a connection of its own. */
export interface Stream {
  send(bytes: Uint8Array): void;
  /** Reads no further: what the control plane sends waits with it. */
  pause(): void;
  readOn(): void;
  /** What was read of it is of no use: ends the stream. */
  refuse(error: unknown): void;
  close(): void;
}

/** What a message that waits costs beside its bytes, more or less. */
const messageOverhead = 1_024;

const raw = (bytes: Buffer): Buffer => bytes;

/**
 * Opens a stream. A control plane that no longer answers is noticed by HTTP/2 pings within half a
 * minute, whether or not there is something to say.
 */
export function openStream(parts: StreamParts): Stream {
  const { access, address, maxMessageBytes } = parts;
  const client = new Client(address, access.channel, {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    // istiod takes a ping every 15 seconds; servers that want fewer say so, and get fewer.
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 8_000,
    ...(access.serverName === undefined
      ? {}
      : { 'grpc.ssl_target_name_override': access.serverName, 'grpc.default_authority': access.serverName }),
  });
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(parts.headers)) metadata.set(name, value);
  if (access.token !== undefined) metadata.set('authorization', `Bearer ${access.token}`);
  const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
    methods[parts.protocol],
    raw,
    raw,
    metadata,
  );
  let open = true;
  let unsent = 0;
  const end = (reason: MeshError): void => {
    if (!open) return;
    open = false;
    client.close();
    parts.closed(reason);
  };
  client.waitForReady(Number.POSITIVE_INFINITY, (error) => {
    if (open && error === undefined) parts.connected();
  });
  const refuse = (error: unknown): void => {
    if (!open) return;
    stream.cancel();
    end(trouble(`${address} sent what cannot be read: ${printable(String(error))}`));
  };
  stream.on('data', (bytes: Buffer) => {
    if (!open) return;
    try {
      parts.message(bytes);
    } catch (error) {
      refuse(error);
    }
  });
  // The status says the same, and comes in any case.
  stream.on('error', () => {});
  stream.on('status', ({ code, details }: StatusObject) => {
    const what = code === status.OK ? 'ended the stream' : `is out of reach: ${status[code] ?? code}`;
    end(trouble(`${address} ${what}${details === '' ? '' : `: ${printable(details)}`}`));
  });
  return {
    send(bytes) {
      if (!open) return;
      const size = bytes.byteLength + messageOverhead;
      unsent += size;
      // Answers that nobody reads would fill the memory.
      if (unsent > maxMessageBytes) {
        stream.cancel();
        return end(trouble(`${address} does not read what it is told: ${unsent} bytes wait for it`));
      }
      stream.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), () => {
        unsent -= size;
      });
    },
    pause: () => void stream.pause(),
    readOn() {
      if (open && stream.isPaused()) stream.resume();
    },
    refuse,
    close() {
      open = false;
      stream.cancel();
      client.close();
    },
  };
}

/** Without the error as its cause: grpc-js keeps the metadata of the call, with the token, there. */
function trouble(message: string): MeshError {
  return new MeshError('ERR_MESH_CONTROL_PLANE', message);
}
