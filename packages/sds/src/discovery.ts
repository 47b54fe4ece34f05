import type { BinaryReader } from '@bufbuild/protobuf/wire';
import { WireType } from '@bufbuild/protobuf/wire';
import { eachField, message, pushBounded, writeBytes, writeMessage, writeString } from './wire.ts';

/** Messages of `envoy.service.discovery.v3`, state of the world, as far as secrets need them. */

export const secretType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';

/** Most names in one request, and most resources in one answer. */
export const maxResources = 64;

/** `google.rpc.Status`: why the last answer was refused. */
export interface ErrorDetail {
  readonly code: number;
  readonly message: string;
}

/** `DiscoveryRequest`. */
export interface DiscoveryRequest {
  /** Version that was accepted last; '' at first. */
  readonly versionInfo: string;
  readonly nodeId: string;
  readonly resourceNames: readonly string[];
  readonly typeUrl: string;
  readonly responseNonce: string;
  /** There for a NACK. */
  readonly errorDetail?: ErrorDetail;
}

/** `DiscoveryResponse`. */
export interface DiscoveryResponse {
  readonly versionInfo: string;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly Any[];
}

/** `google.protobuf.Any`. */
export interface Any {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** SPIRE tells roots by trust domain to clients that have what came with Envoy 1.18; so do we. */
const understands = { major: 1, minor: 18 };

export function writeDiscoveryRequest(request: DiscoveryRequest): Buffer {
  return message((writer) => {
    writeString(writer, 1, request.versionInfo);
    // Needed in the first request of a stream only; in the others it does no harm.
    if (request.nodeId !== '') {
      writeMessage(writer, 2, (node) => {
        writeString(node, 1, request.nodeId);
        writeString(node, 6, 'inmesh');
        writeMessage(node, 8, (build) =>
          writeMessage(build, 1, (version) => {
            version.tag(1, WireType.Varint).uint32(understands.major);
            version.tag(2, WireType.Varint).uint32(understands.minor);
          }),
        );
      });
    }
    for (const name of request.resourceNames) writer.tag(3, WireType.LengthDelimited).string(name);
    writeString(writer, 4, request.typeUrl);
    writeString(writer, 5, request.responseNonce);
    if (request.errorDetail !== undefined) writeErrorDetail(writer, 6, request.errorDetail);
  });
}

/** @throws Error when the bytes are no such message */
export function readDiscoveryRequest(bytes: Uint8Array): DiscoveryRequest {
  const resourceNames: string[] = [];
  const found = { versionInfo: '', nodeId: '', typeUrl: '', responseNonce: '' };
  let errorDetail: ErrorDetail | undefined;
  eachField(bytes, {
    1: (reader) => void (found.versionInfo = reader.string()),
    2: (reader) => void (found.nodeId = readNodeId(reader.bytes())),
    3: (reader) => pushBounded(resourceNames, reader.string(), maxResources, 'names'),
    4: (reader) => void (found.typeUrl = reader.string()),
    5: (reader) => void (found.responseNonce = reader.string()),
    6: (reader) => void (errorDetail = readErrorDetail(reader.bytes())),
  });
  return { ...found, resourceNames, ...(errorDetail === undefined ? {} : { errorDetail }) };
}

export function writeDiscoveryResponse(response: DiscoveryResponse): Buffer {
  return message((writer) => {
    writeString(writer, 1, response.versionInfo);
    for (const resource of response.resources) writeMessage(writer, 2, (any) => writeAny(any, resource));
    writeString(writer, 4, response.typeUrl);
    writeString(writer, 5, response.nonce);
  });
}

/** @throws Error when the bytes are no such message */
export function readDiscoveryResponse(bytes: Uint8Array): DiscoveryResponse {
  const resources: Any[] = [];
  const found = { versionInfo: '', typeUrl: '', nonce: '' };
  eachField(bytes, {
    1: (reader) => void (found.versionInfo = reader.string()),
    2: (reader) => pushBounded(resources, readAny(reader.bytes()), maxResources, 'resources'),
    4: (reader) => void (found.typeUrl = reader.string()),
    5: (reader) => void (found.nonce = reader.string()),
  });
  return { ...found, resources };
}

export function writeAny(writer: Parameters<typeof writeString>[0], { typeUrl, value }: Any): void {
  writeString(writer, 1, typeUrl);
  writeBytes(writer, 2, value);
}

export function readAny(bytes: Uint8Array): Any {
  let typeUrl = '';
  let value: Uint8Array = new Uint8Array();
  eachField(bytes, {
    1: (reader: BinaryReader) => void (typeUrl = reader.string()),
    2: (reader: BinaryReader) => void (value = reader.bytes()),
  });
  return { typeUrl, value };
}

export function readNodeId(bytes: Uint8Array): string {
  let id = '';
  eachField(bytes, { 1: (reader) => void (id = reader.string()) });
  return id;
}

export function writeErrorDetail(
  writer: Parameters<typeof writeString>[0],
  field: number,
  { code, message: text }: ErrorDetail,
): void {
  writeMessage(writer, field, (status) => {
    status.tag(1, WireType.Varint).int32(code);
    writeString(status, 2, text);
  });
}

export function readErrorDetail(bytes: Uint8Array): ErrorDetail {
  const found = { code: 0, message: '' };
  eachField(bytes, {
    1: (reader) => void (found.code = reader.int32()),
    2: (reader) => void (found.message = reader.string()),
  });
  return found;
}
