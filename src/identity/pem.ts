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
  const refuse = (reason: string, cause?: unknown): never => {
    throw new MeshError('ERR_MESH_NO_IDENTITY', `${what}: ${reason}`, { cause });
  };
  if (text.length > maxPemBytes) refuse(`larger than ${maxPemBytes} bytes`);
  const certificates: X509Certificate[] = [];
  let body: string[] | undefined;
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    if (body === undefined) {
      if (!trimmed.startsWith('-----')) continue;
      if (trimmed !== '-----BEGIN CERTIFICATE-----') refuse(`expected certificates only, found ${kindOf(trimmed)}`);
      body = [];
    } else if (trimmed === '-----END CERTIFICATE-----') {
      if (certificates.length >= maxPemCertificates) refuse(`more than ${maxPemCertificates} certificates`);
      try {
        certificates.push(new X509Certificate(Buffer.from(body.join(''), 'base64')));
      } catch (cause) {
        refuse(`certificate ${certificates.length + 1} cannot be read`, cause);
      }
      body = undefined;
    } else if (/^[A-Za-z0-9+/=]*$/.test(trimmed)) {
      body.push(trimmed);
    } else {
      refuse(`certificate ${certificates.length + 1} is not closed or not base64`);
    }
  }
  if (body !== undefined) refuse(`certificate ${certificates.length + 1} is not closed: the text ends early`);
  if (certificates.length === 0) refuse('no certificate in it');
  return certificates;
}

// A private key in the wrong file must not be quoted in a message: only the label is.
function kindOf(line: string): string {
  return JSON.stringify(line.replaceAll('-', '').trim().slice(0, 40));
}
