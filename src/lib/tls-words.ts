import { createSecureContext } from 'node:tls';

/** Suites of TLS 1.2 with forward secrecy and authenticated encryption, by OpenSSL's names, the best first. */
export const strongSuites: readonly string[] = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
];

/** What Istio accepts besides, and Node.js can speak: for servers that have nothing better. */
const weakSuites: readonly string[] = [
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-SHA',
  'ECDHE-RSA-AES256-SHA',
  'AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-SHA',
  'AES256-SHA',
];

/** What a list of suites or curves says; `problem`: it cannot be used. */
export type ReadTlsWords =
  | { readonly words: readonly string[]; readonly problem?: undefined }
  | { readonly problem: string; readonly index: number; readonly value: string };

/**
 * Reads names of cipher suites as Envoy takes them, groups of equals (`[A|B]`) included.
 *
 * @param inMesh leaves those out that are not strong: the mesh never speaks them
 * @returns each suite once; a problem for a name that is none, and where nothing is left
 */
export function readCipherSuites(given: readonly string[], inMesh: boolean): ReadTlsWords {
  const words = new Set<string>();
  for (const [index, value] of given.entries()) {
    const grouped = value.startsWith('[') && value.endsWith(']');
    for (const name of grouped ? value.slice(1, -1).split('|') : [value]) {
      if (strongSuites.includes(name)) words.add(name);
      else if (weakSuites.includes(name)) {
        if (!inMesh) words.add(name);
      } else if (name.startsWith('TLS_')) {
        return { problem: 'must be a suite of TLS 1.2: those of TLS 1.3 are always spoken', index, value };
      } else {
        const known = inMesh ? strongSuites : [...strongSuites, ...weakSuites];
        return { problem: `must be a cipher suite that is known here: ${known.join(', ')}`, index, value };
      }
    }
  }
  if (words.size > 0 || given.length === 0) return { words: [...words] };
  const problem = 'must have a suite with forward secrecy and authenticated encryption: others are not spoken here';
  return { problem: `${problem} (${strongSuites.join(', ')})`, index: 0, value: given[0] as string };
}

/** What Istio and Envoy know. */
const knownCurves: readonly string[] = ['X25519', 'P-256', 'P-384', 'P-521', 'P-224', 'X25519MLKEM768'];

/** Reads names of curves, each once; a problem for one that this Node.js does not have. */
export function readCurves(given: readonly string[]): ReadTlsWords {
  for (const [index, value] of given.entries()) {
    if (!knownCurves.includes(value)) {
      return { problem: `must be a curve that is known here: ${knownCurves.join(', ')}`, index, value };
    }
    if (!isAvailable(value)) {
      const { node, openssl } = process.versions;
      return { problem: `is not to be had in Node.js ${node} with OpenSSL ${openssl}`, index, value };
    }
  }
  return { words: [...new Set(given)] };
}

const available = new Map<string, boolean>();

/** `crypto.getCurves` has other names, and no hybrids. */
function isAvailable(curve: string): boolean {
  let known = available.get(curve);
  if (known === undefined) {
    try {
      createSecureContext({ ecdhCurve: curve });
      known = true;
    } catch {
      known = false;
    }
    available.set(curve, known);
  }
  return known;
}
