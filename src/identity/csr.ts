import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import {
  derBitString,
  derContext,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derSet,
  derTrue,
  derUnsigned,
} from './der-write.ts';

/** A fresh P-256 private key: quick to make and to shake hands with. */
export function generateIdentityKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/**
 * A certificate request (PKCS#10, RFC 2986) for a SPIFFE ID: an empty subject, the ID as the only
 * name in a critical subjectAltName, signed with `key`. Istio's CA takes the identity from the
 * caller and not from here, other authorities need it.
 *
 * @param key an EC (P-256, P-384), Ed25519 or RSA (2,048 bits or more) private key
 * @returns PEM
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` for what is not a SPIFFE ID, `ERR_MESH_OPTION_INVALID` for another key
 */
export function createCsr(spiffeId: string, key: KeyObject): string {
  const { uri } = parseSpiffeId(spiffeId);
  const names = derSequence(derContext(6, false, Buffer.from(uri, 'ascii')));
  const subjectAltName = derSequence(derOid('2.5.29.17'), derTrue(), derOctetString(names));
  // PKCS#9 extensionRequest: the extensions that the certificate should have.
  const attribute = derSequence(derOid('1.2.840.113549.1.9.14'), derSet(derSequence(subjectAltName)));
  const information = derSequence(
    derUnsigned(Buffer.from([0])),
    derSequence(),
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    derContext(0, true, attribute),
  );
  const { algorithm, hash } = signatureOf(key);
  const request = derSequence(information, derSequence(...algorithm), derBitString(sign(hash, information, key)));
  const base64 = request.toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd();
  return `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`;
}

function signatureOf(key: KeyObject): { readonly algorithm: readonly Buffer[]; readonly hash: string | null } {
  const { modulusLength = 0, namedCurve: curve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ed25519') return { algorithm: [derOid('1.3.101.112')], hash: null };
  if (curve === 'prime256v1') return { algorithm: [derOid('1.2.840.10045.4.3.2')], hash: 'sha256' };
  if (curve === 'secp384r1') return { algorithm: [derOid('1.2.840.10045.4.3.3')], hash: 'sha384' };
  if (key.asymmetricKeyType === 'rsa' && modulusLength >= 2_048) {
    // RFC 4055 section 5: sha256WithRSAEncryption has NULL for its parameters.
    return { algorithm: [derOid('1.2.840.113549.1.1.11'), derNull()], hash: 'sha256' };
  }
  const given = curve ?? (key.asymmetricKeyType === 'rsa' ? `rsa of ${modulusLength} bits` : key.asymmetricKeyType);
  throw new MeshError(
    'ERR_MESH_OPTION_INVALID',
    `a certificate request needs a P-256, P-384, Ed25519 or RSA key (2,048 bits or more), not ${given ?? key.type}`,
  );
}
