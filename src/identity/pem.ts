import { X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';

/** Most certificates accepted in one file or answer. */
export const maxPemCertificates = 64;
const maxPemBytes = 1_048_576;

/**
 * Splits PEM text into its certificates, each as normalised PEM. Text between the blocks (as
 * `openssl` writes it) is skipped; a block of another kind, or one that is not closed, is refused.
 *
 * @param what names the text in messages: `cert-chain.pem`
 * @throws MeshError `ERR_MESH_NO_IDENTITY`
 */
export function readPemCertificates(text: string, what: string): readonly X509Certificate[] {
  return readPem(text, what, 'CERTIFICATE', 'certificate', (der) => new X509Certificate(der));
}

/**
 * Splits PEM text into blocks of one kind and reads each.
 *
 * @param label of the blocks: `X509 CRL`
 * @param name of one block in messages: `revocation list`
 * @param read turns the bytes of a block into what it is; throws when it cannot
 * @throws MeshError `ERR_MESH_NO_IDENTITY`
 */
export function readPem<T>(
  text: string,
  what: string,
  label: string,
  name: string,
  read: (der: Buffer) => T,
): readonly T[] {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new MeshError('ERR_MESH_NO_IDENTITY', `${what}: ${reason}`, { cause });
  };
  if (text.length > maxPemBytes) refuse(`larger than ${maxPemBytes} bytes`);
  const found: T[] = [];
  let body: string[] | undefined;
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    if (body === undefined) {
      if (!trimmed.startsWith('-----')) continue;
      if (trimmed !== `-----BEGIN ${label}-----`) refuse(`expected ${name}s only, found ${kindOf(trimmed)}`);
      body = [];
    } else if (trimmed === `-----END ${label}-----`) {
      if (found.length >= maxPemCertificates) refuse(`more than ${maxPemCertificates} ${name}s`);
      try {
        found.push(read(Buffer.from(body.join(''), 'base64')));
      } catch (cause) {
        const why = cause instanceof MeshError ? `: ${cause.message}` : '';
        refuse(`${name} ${found.length + 1} cannot be read${why}`, cause);
      }
      body = undefined;
    } else if (/^[A-Za-z0-9+/=]*$/.test(trimmed)) {
      body.push(trimmed);
    } else {
      refuse(`${name} ${found.length + 1} is not closed or not base64`);
    }
  }
  if (body !== undefined) refuse(`${name} ${found.length + 1} is not closed: the text ends early`);
  if (found.length === 0) refuse(`no ${name} in it`);
  return found;
}

// A private key in the wrong file must not be quoted in a message: only the label is.
function kindOf(line: string): string {
  return JSON.stringify(line.replaceAll('-', '').trim().slice(0, 40));
}
