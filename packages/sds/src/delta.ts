import { type Any, type ErrorDetail, maxResources, readErrorDetail, readNodeId, writeAny } from './discovery.ts';
import { eachField, message, pushBounded, writeMessage, writeString } from './wire.ts';

/** `DeltaDiscoveryRequest`, as far as a server of secrets needs it. */
export interface DeltaRequest {
  readonly nodeId: string;
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  /** What a client that connects again has: name to version. */
  readonly initialVersions: ReadonlyMap<string, string>;
  readonly responseNonce: string;
  readonly errorDetail?: ErrorDetail;
}

/** `DeltaDiscoveryResponse`. */
export interface DeltaResponse {
  readonly systemVersionInfo: string;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly { readonly name: string; readonly version: string; readonly resource: Any }[];
}

/** @throws Error when the bytes are no such message */
export function readDeltaRequest(bytes: Uint8Array): DeltaRequest {
  const subscribe: string[] = [];
  const unsubscribe: string[] = [];
  const initialVersions = new Map<string, string>();
  const found = { nodeId: '', typeUrl: '', responseNonce: '' };
  let errorDetail: ErrorDetail | undefined;
  eachField(bytes, {
    1: (reader) => void (found.nodeId = readNodeId(reader.bytes())),
    2: (reader) => void (found.typeUrl = reader.string()),
    3: (reader) => pushBounded(subscribe, reader.string(), maxResources, 'names'),
    4: (reader) => pushBounded(unsubscribe, reader.string(), maxResources, 'names'),
    5: (reader) => {
      if (initialVersions.size >= maxResources) throw new Error(`more than ${maxResources} versions`);
      let name = '';
      let version = '';
      eachField(reader.bytes(), {
        1: (entry) => void (name = entry.string()),
        2: (entry) => void (version = entry.string()),
      });
      initialVersions.set(name, version);
    },
    6: (reader) => void (found.responseNonce = reader.string()),
    7: (reader) => void (errorDetail = readErrorDetail(reader.bytes())),
  });
  return { ...found, subscribe, unsubscribe, initialVersions, ...(errorDetail === undefined ? {} : { errorDetail }) };
}

export function writeDeltaResponse(response: DeltaResponse): Buffer {
  return message((writer) => {
    writeString(writer, 1, response.systemVersionInfo);
    for (const { name, version, resource } of response.resources) {
      writeMessage(writer, 2, (inner) => {
        writeString(inner, 1, version);
        writeMessage(inner, 2, (any) => writeAny(any, resource));
        writeString(inner, 3, name);
      });
    }
    writeString(writer, 4, response.typeUrl);
    writeString(writer, 5, response.nonce);
  });
}
