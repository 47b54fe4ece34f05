import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { IstiodKeyType } from './environment.ts';

const generate = promisify(generateKeyPair);

/** A fresh private key. Off the main thread: an RSA key takes a tenth of a second and more. */
export async function makeKey(type: IstiodKeyType): Promise<KeyObject> {
  if (type === 'p-256') return (await generate('ec', { namedCurve: 'P-256' })).privateKey;
  if (type === 'p-384') return (await generate('ec', { namedCurve: 'P-384' })).privateKey;
  return (await generate('rsa', { modulusLength: Number(type.slice('rsa-'.length)) })).privateKey;
}
