import {
  type DerNode,
  derChildren,
  derProblem,
  derTag,
  expectTag,
  readBitString,
  readBoolean,
  readDer,
  readOid,
  readPrintableAscii,
  readSmallInteger,
} from './der.ts';

/** What inmesh needs to know of a certificate, read from its own bytes. Node shows half of it. */
export interface CertificateFacts {
  /** URI names of the subjectAltName, of any scheme, in order. */
  readonly uris: readonly string[];
  /** Names of other kinds in the subjectAltName (DNS, IP, …): counted, never used. */
  readonly otherNames: number;
  /** `basicConstraints` cA; false when the extension is absent. */
  readonly ca: boolean;
  readonly hasBasicConstraints: boolean;
  readonly pathLength?: number;
  /** Absent when there is no keyUsage extension. */
  readonly keyUsage?: KeyUsage;
  /** OIDs of extKeyUsage; absent when there is no such extension. */
  readonly extendedKeyUsage?: readonly string[];
  /** URI subtrees of nameConstraints. Subtrees of other kinds do not concern a SPIFFE ID. */
  readonly permittedUris?: readonly string[];
  readonly excludedUris?: readonly string[];
  /** Critical extensions that are not among the above. RFC 5280 4.2: refuse the certificate. */
  readonly unknownCritical: readonly string[];
}

/** The bits of keyUsage that matter here. */
export interface KeyUsage {
  readonly critical: boolean;
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly crlSign: boolean;
}

/** One extension of a certificate or of a request. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: DerNode;
}

/**
 * Reads the extensions of a certificate (RFC 5280 4.1, version 3).
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` when it is larger than 64 KiB, malformed, or has an extension twice.
 */
export function readCertificate(der: Uint8Array): CertificateFacts {
  const [tbs] = derChildren(expectTag(readDer(der), derTag.sequence, 'a certificate'));
  const fields = derChildren(expectTag(tbs, derTag.sequence, 'tbsCertificate'));
  const version = fields[0];
  if (version?.tag !== 0xa0) throw derProblem('not a version 3 certificate');
  const number = derChildren(version);
  if (number.length !== 1 || readSmallInteger(number[0] as DerNode) !== 2) {
    throw derProblem('not a version 3 certificate');
  }
  // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo; then optional fields.
  const wrapped = fields.slice(7).filter((field) => field.tag === 0xa3);
  if (wrapped.length > 1) throw derProblem('two lists of extensions');
  const list = wrapped[0] === undefined ? [] : derChildren(wrapped[0]);
  if (list.length > 1) throw derProblem('two lists of extensions');
  return factsOf(list[0] === undefined ? [] : readExtensions(list[0]));
}

/** Extensions of a SEQUENCE OF Extension, each at most once. */
export function readExtensions(list: DerNode): readonly Extension[] {
  const seen = new Set<string>();
  return derChildren(expectTag(list, derTag.sequence, 'the list of extensions')).map((node) => {
    const parts = derChildren(expectTag(node, derTag.sequence, 'an extension'));
    const oid = readOid(expectTag(parts[0], derTag.oid, 'the name of an extension'));
    if (seen.has(oid)) throw derProblem(`extension ${oid} appears twice`);
    seen.add(oid);
    const flagged = parts.length === 3;
    if (parts.length < 2 || parts.length > 3) throw derProblem(`extension ${oid} has ${parts.length} parts`);
    const critical = flagged && readBoolean(parts[1] as DerNode);
    const octets = expectTag(parts[flagged ? 2 : 1], derTag.octetString, `the value of extension ${oid}`);
    // Read one level lower in its own right; depth goes on counting, so that nesting stays bounded.
    return { oid, critical, value: { ...readDerInside(octets), depth: octets.depth + 1 } };
  });
}

function readDerInside(octets: DerNode): DerNode {
  return readDer(octets.content);
}

/** Turns extensions into facts; also for the extensions that a certificate request asks for. */
export function factsOf(extensions: readonly Extension[]): CertificateFacts {
  let facts: CertificateFacts = { uris: [], otherNames: 0, ca: false, hasBasicConstraints: false, unknownCritical: [] };
  for (const { oid, critical, value } of extensions) {
    const read = readers[oid];
    if (read !== undefined) facts = { ...facts, ...read(value, critical) };
    else if (critical) facts = { ...facts, unknownCritical: [...facts.unknownCritical, oid] };
  }
  return facts;
}

const readers: Readonly<Record<string, (value: DerNode, critical: boolean) => Partial<CertificateFacts>>> = {
  '2.5.29.15': (value, critical) => {
    const { bytes } = readBitString(value);
    const bits = bytes[0] ?? 0;
    return {
      keyUsage: {
        critical,
        digitalSignature: (bits & 0x80) !== 0,
        keyCertSign: (bits & 0x04) !== 0,
        crlSign: (bits & 0x02) !== 0,
      },
    };
  },
  '2.5.29.17': (value) => {
    const names = derChildren(expectTag(value, derTag.sequence, 'subjectAltName'));
    const uris = names.filter((name) => name.tag === 0x86);
    return {
      uris: uris.map((name) => readPrintableAscii(name.content, 'a URI name')),
      otherNames: names.length - uris.length,
    };
  },
  '2.5.29.19': (value) => {
    const parts = derChildren(expectTag(value, derTag.sequence, 'basicConstraints'));
    const flag = parts[0]?.tag === derTag.boolean ? parts[0] : undefined;
    const length = parts[flag === undefined ? 0 : 1];
    if (parts.length > (flag === undefined ? 0 : 1) + (length === undefined ? 0 : 1)) {
      throw derProblem('basicConstraints has more than two parts');
    }
    return {
      hasBasicConstraints: true,
      ca: flag !== undefined && readBoolean(flag),
      ...(length === undefined ? {} : { pathLength: readSmallInteger(length) }),
    };
  },
  '2.5.29.30': (value) => {
    let found: Partial<CertificateFacts> = {};
    for (const subtrees of derChildren(expectTag(value, derTag.sequence, 'nameConstraints'))) {
      const hosts = derChildren(subtrees)
        .map((subtree) => derChildren(expectTag(subtree, derTag.sequence, 'a name constraint'))[0])
        .filter((name) => name?.tag === 0x86)
        .map((name) => readPrintableAscii((name as DerNode).content, 'a URI constraint').toLowerCase());
      if (subtrees.tag === 0xa0 && hosts.length > 0) found = { ...found, permittedUris: hosts };
      else if (subtrees.tag === 0xa1 && hosts.length > 0) found = { ...found, excludedUris: hosts };
      else if (subtrees.tag !== 0xa0 && subtrees.tag !== 0xa1) throw derProblem('nameConstraints of an unknown kind');
    }
    return found;
  },
  '2.5.29.37': (value) => {
    const usages = derChildren(expectTag(value, derTag.sequence, 'extKeyUsage'));
    if (usages.length === 0) throw derProblem('an empty extKeyUsage');
    return { extendedKeyUsage: usages.map(readOid) };
  },
  // Known and without a say here: policies and mappings name documents, key identifiers help to find issuers.
  '2.5.29.32': () => ({}),
  '2.5.29.35': () => ({}),
  '2.5.29.14': () => ({}),
};
