import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { MeshError } from '../errors.ts';
import { readCertificate } from '../identity/certificate.ts';

/** What a Host header names: without port and brackets, in lower case, without a dot at the end. */
export function nameOfHost(host: string): string {
  const name = host.startsWith('[') ? host.slice(1, Math.max(1, host.indexOf(']'))) : (host.split(':')[0] as string);
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

/**
 * Checks that a certificate has one of these names in its subjectAltName, whatever kind of name it
 * is (Envoy `match_subject_alt_names`): a DNS name, which `*.example.com` covers too, an IP address,
 * a URI or a mail address. The common name does not count.
 *
 * @returns `ERR_MESH_PEER_IDENTITY` when it has none of them.
 */
export function checkServerNames(names: readonly string[], der: Uint8Array): MeshError | undefined {
  const certificate = new X509Certificate(der);
  if (names.some((name) => hasName(certificate, der, name))) return undefined;
  const has = certificate.subjectAltName ?? 'no name at all';
  return new MeshError('ERR_MESH_PEER_IDENTITY', `the certificate must be for ${names.join(' or ')}, but has ${has}`);
}

function hasName(certificate: X509Certificate, der: Uint8Array, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  if (name.includes(':')) return urisOf(der).includes(name);
  if (name.includes('@')) return certificate.checkEmail(name, { subject: 'never' }) !== undefined;
  // A name that is a wildcard itself is found only when it is there as it is. Node puts names with
  // unusual characters in quotes, so that one name cannot pretend to be two.
  if (name.startsWith('*.')) return certificate.subjectAltName?.split(', ').includes(`DNS:${name}`) ?? false;
  // A leading dot would mean any name below it.
  if (name.startsWith('.')) return false;
  return certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
}

function urisOf(der: Uint8Array): readonly string[] {
  try {
    return readCertificate(der).uris;
  } catch {
    return [];
  }
}
