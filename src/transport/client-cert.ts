import { createHash, X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import type { ClientCertDetails } from '../lib/forwarded-client-cert.ts';

/**
 * The element of `x-forwarded-client-cert` for the client of a connection, as Envoy's HTTP
 * connection manager writes it: `By`, `Hash`, then as asked for `Cert`, `Chain`, `Subject`, `URI`,
 * `DNS`. To be made once for a connection, and after its identity was verified.
 *
 * @param own SPIFFE ID of this process
 * @returns '' when the client presented no certificate
 */
export function clientCertElement(socket: TLSSocket, own: string, details: ClientCertDetails): string {
  // Not `getPeerX509Certificate`: it takes the chain out of the connection.
  const presented: Partial<DetailedPeerCertificate> = socket.getPeerCertificate(true) ?? {};
  if (presented.raw === undefined) return '';
  const certificate = new X509Certificate(presented.raw);
  let element = own === '' ? '' : `By=${own};`;
  element += `Hash=${createHash('sha256').update(certificate.raw).digest('hex')}`;
  if (details.cert) element += `;Cert="${urlEncoded(certificate.toString())}"`;
  if (details.chain) element += `;Chain="${urlEncoded(chainOf(presented))}"`;
  if (details.subject) element += `;Subject="${subjectOf(certificate)}"`;
  const names = certificate.subjectAltName?.split(', ') ?? [];
  // The SPIFFE ID was verified: there is exactly one, and nothing in it would need quotes.
  if (details.uri) element += `;URI=${names.find((name) => name.startsWith('URI:'))?.slice(4) ?? ''}`;
  if (!details.dns) return element;
  for (const name of names) {
    const dns = name.startsWith('DNS:') ? name.slice(4) : '';
    // Envoy writes whatever is there; what is no name of a host could pretend to be another pair.
    if (/^[\w.*-]+$/.test(dns)) element += `;DNS=${dns}`;
  }
  return element;
}

/**
 * A subject as OpenSSL writes it for RFC 2253, last name first. Node has the same escapes, one name
 * in a line, first name first, and leaves what is beyond ASCII as it is.
 */
function subjectOf({ subject }: X509Certificate): string {
  // Nothing for a subject without a name, whatever the types say.
  const lines = (subject as string | undefined)?.split('\n').reverse() ?? [];
  return lines
    .join(',')
    .replaceAll(' + ', '+')
    .replace(/[^\x20-\x7e]/gu, escapeBytes);
}

function escapeBytes(character: string): string {
  const bytes = [...Buffer.from(character, 'utf8')];
  return bytes.map((byte) => `\\${byte.toString(16).padStart(2, '0').toUpperCase()}`).join('');
}

/** As Envoy encodes PEM: what has a meaning in a URL, and nothing else. */
function urlEncoded(pem: string): string {
  return pem
    .replaceAll('\n', '%0A')
    .replaceAll(' ', '%20')
    .replaceAll('+', '%2B')
    .replaceAll('/', '%2F')
    .replaceAll('=', '%3D');
}

/** Leaf and intermediates. Node adds the root out of its own store: that is not what the client sent. */
function chainOf(leaf: Partial<DetailedPeerCertificate>): string {
  let text = '';
  for (let at = leaf; at.raw !== undefined && (at === leaf || at.issuerCertificate !== at); ) {
    text += new X509Certificate(at.raw).toString();
    at = at.issuerCertificate ?? {};
  }
  return text;
}

/** {@link clientCertElement} for one connection, made again only when something else is asked for. */
export function rememberClientCert(socket: TLSSocket, own: string): (details: ClientCertDetails) => string {
  let asked: ClientCertDetails | undefined;
  let said = '';
  return (details) => {
    if (asked !== details) {
      said = clientCertElement(socket, own, details);
      asked = details;
    }
    return said;
  };
}
