import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type Element, nothing, oid, sequence } from './asn1.ts';

/** Kinds of keys that an authority may have. */
export const keyTypes = ['p-256', 'p-384', 'rsa-2048', 'rsa-3072', 'rsa-4096'] as const;

/** One of {@link keyTypes}. */
export type KeyType = (typeof keyTypes)[number];

/** A fresh private key. */
export function makeKey(type: KeyType = 'p-256'): KeyObject {
  switch (type) {
    case 'p-256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'p-384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    default:
      return generateKeyPairSync('rsa', { modulusLength: Number(type.slice('rsa-'.length)) }).privateKey;
  }
}

/** How a key signs: with SHA-384 for P-384, else with SHA-256. */
export interface SignatureAlgorithm {
  readonly identifier: Element;
  readonly hash: 'sha256' | 'sha384';
}

/** The signature algorithm that goes with an authority's key (RFC 5758, RFC 4055). */
export function signatureAlgorithmOf(key: KeyObject): SignatureAlgorithm {
  if (key.asymmetricKeyType === 'rsa') {
    return { identifier: sequence(oid('1.2.840.113549.1.1.11'), nothing()), hash: 'sha256' };
  }
  return key.asymmetricKeyDetails?.namedCurve === 'secp384r1'
    ? { identifier: sequence(oid('1.2.840.10045.4.3.3')), hash: 'sha384' }
    : { identifier: sequence(oid('1.2.840.10045.4.3.2')), hash: 'sha256' };
}

/**
 * Why a key is too weak to be certified, or that of an authority; nothing when it is good. P-256,
 * P-384, Ed25519 where `edwards` allows it, or RSA of 2,048 to 8,192 bits with the exponent 65,537
 * (RFC 9325 4.5).
 */
export function weaknessOf(key: KeyObject, edwards: boolean): string | undefined {
  const { modulusLength, namedCurve, publicExponent } = key.asymmetricKeyDetails ?? {};
  const accepted = `accepted are P-256, P-384, ${edwards ? 'Ed25519 ' : ''}and RSA from 2,048 bits`;
  switch (key.asymmetricKeyType) {
    case 'ec':
      if (namedCurve === 'prime256v1' || namedCurve === 'secp384r1') return undefined;
      return `an EC key on the curve ${namedCurve ?? 'unknown'}: ${accepted}`;
    case 'rsa':
      if (modulusLength === undefined || modulusLength < 2_048 || modulusLength > 8_192) {
        return `an RSA key of ${modulusLength ?? 'unknown'} bits: ${accepted} to 8,192`;
      }
      if (publicExponent === 65_537n) return undefined;
      return `an RSA key with the exponent ${String(publicExponent)}: only 65537 is accepted`;
    default:
      if (edwards && key.asymmetricKeyType === 'ed25519') return undefined;
      return `a key of type ${key.asymmetricKeyType ?? 'unknown'}: ${accepted}`;
  }
}
