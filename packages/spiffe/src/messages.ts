import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { bounds } from './bounds.ts';
import { bytesField, eachField, mapEntry, pushTo, textField } from './fields.ts';
import { type Claims, readStruct } from './struct.ts';

/**
 * The messages of `SpiffeWorkloadAPI` (workloadapi.proto of the SPIFFE standards), bounded, and as
 * they come: nothing is verified here. Absent fields have protobuf's default, which is empty.
 */

/** `X509SVIDResponse`. */
export interface X509SvidMessage {
  readonly svids: readonly RawX509Svid[];
  readonly crls: readonly Uint8Array[];
  readonly federatedBundles: ReadonlyMap<string, Uint8Array>;
}

/** `X509SVID`. */
export interface RawX509Svid {
  readonly spiffeId: string;
  readonly chain: Uint8Array;
  readonly key: Uint8Array;
  readonly bundle: Uint8Array;
  readonly hint: string;
}

export function readX509SvidMessage(bytes: Uint8Array): X509SvidMessage {
  const svids: RawX509Svid[] = [];
  const crls: Uint8Array[] = [];
  const federatedBundles = new Map<string, Uint8Array>();
  const addSvid = pushTo(svids, bounds.svids, 'SVIDs');
  eachField(bytes, {
    1: bytesField((svid) => addSvid(readX509Svid(svid))),
    2: bytesField(pushTo(crls, bounds.crls, 'certificate revocation lists')),
    3: bytesField(mapEntry(federatedBundles, bounds.bundles, 'federated bundles')),
  });
  return { svids, crls, federatedBundles };
}

function readX509Svid(bytes: Uint8Array): RawX509Svid {
  const empty = Buffer.alloc(0);
  const svid = { spiffeId: '', chain: empty as Uint8Array, key: empty as Uint8Array, bundle: empty as Uint8Array };
  let hint = '';
  eachField(bytes, {
    1: textField((text) => (svid.spiffeId = text)),
    2: bytesField((content) => (svid.chain = content)),
    3: bytesField((content) => (svid.key = content)),
    4: bytesField((content) => (svid.bundle = content)),
    5: textField((text) => (hint = text)),
  });
  return { ...svid, hint };
}

/** `X509BundlesResponse`. */
export interface X509BundlesMessage {
  readonly crls: readonly Uint8Array[];
  readonly bundles: ReadonlyMap<string, Uint8Array>;
}

export function readX509BundlesMessage(bytes: Uint8Array): X509BundlesMessage {
  const crls: Uint8Array[] = [];
  const bundles = new Map<string, Uint8Array>();
  eachField(bytes, {
    1: bytesField(pushTo(crls, bounds.crls, 'certificate revocation lists')),
    2: bytesField(mapEntry(bundles, bounds.bundles, 'bundles')),
  });
  return { crls, bundles };
}

/** `JWTSVIDRequest`. */
export function writeJwtSvidRequest(audience: readonly string[], spiffeId: string): Buffer {
  const writer = new BinaryWriter();
  for (const one of audience) writer.tag(1, WireType.LengthDelimited).string(one);
  if (spiffeId !== '') writer.tag(2, WireType.LengthDelimited).string(spiffeId);
  return Buffer.from(writer.finish());
}

/** `JWTSVID`. */
export interface RawJwtSvid {
  readonly spiffeId: string;
  readonly token: string;
  readonly hint: string;
}

/** The `svids` of `JWTSVIDResponse`. */
export function readJwtSvidMessage(bytes: Uint8Array): readonly RawJwtSvid[] {
  const svids: RawJwtSvid[] = [];
  const add = pushTo(svids, bounds.svids, 'SVIDs');
  eachField(bytes, {
    1: bytesField((svid) => {
      let spiffeId = '';
      let token = '';
      let hint = '';
      eachField(svid, {
        1: textField((text) => (spiffeId = text)),
        2: textField((text) => (token = text)),
        3: textField((text) => (hint = text)),
      });
      add({ spiffeId, token, hint });
    }),
  });
  return svids;
}

/** The `bundles` of `JWTBundlesResponse`: JWK sets by SPIFFE ID of the trust domain. */
export function readJwtBundlesMessage(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const bundles = new Map<string, Uint8Array>();
  eachField(bytes, { 1: bytesField(mapEntry(bundles, bounds.bundles, 'JWT bundles')) });
  return bundles;
}

/** `ValidateJWTSVIDRequest`. */
export function writeValidateRequest(audience: string, token: string): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(audience);
  writer.tag(2, WireType.LengthDelimited).string(token);
  return Buffer.from(writer.finish());
}

/** `ValidateJWTSVIDResponse`. */
export interface ValidateMessage {
  readonly spiffeId: string;
  /** Absent when the field was. */
  readonly claims?: Claims;
}

export function readValidateMessage(bytes: Uint8Array): ValidateMessage {
  let spiffeId = '';
  let claims: Claims | undefined;
  eachField(bytes, {
    1: textField((text) => (spiffeId = text)),
    2: bytesField((struct) => (claims = readStruct(struct))),
  });
  return { spiffeId, ...(claims === undefined ? {} : { claims }) };
}
