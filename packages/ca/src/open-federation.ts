import { join } from 'node:path';
import { type Clock, type Logger, readPemCertificates } from 'inmesh/identity';
import { createFederation } from './federation.ts';
import { folderFederationStore } from './federation-store.ts';
import type { Federation } from './federation-types.ts';
import { readIfThere } from './files.ts';
import { hasHoldings } from './holdings-folder.ts';
import { readConfig } from './open-authority.ts';
import { resolveOptions } from './options.ts';
import { refusal } from './refusal.ts';

/**
 * The federation of an authority in a folder, without its keys: what `inmesh ca federate` works with.
 *
 * @throws Refusal when the folder holds no authority
 */
export function openFederation(
  dir: string,
  options: { readonly clock?: Clock; readonly logger?: Logger; readonly ownRoots?: () => readonly string[] } = {},
): Federation {
  if (!hasHoldings(dir)) throw refusal('unavailable', `${dir} holds no certificate authority`);
  const { trustDomain } = resolveOptions({}, readConfig(join(dir, 'authority.json')));
  return createFederation({
    store: folderFederationStore(join(dir, 'federation'), trustDomain),
    trustDomain,
    ownRoots: () => rootsIn(dir),
    ...options,
  });
}

function rootsIn(dir: string): readonly string[] {
  const text = readIfThere(join(dir, 'root.pem'));
  return text === undefined ? [] : readPemCertificates(text, 'root.pem').map(String);
}
