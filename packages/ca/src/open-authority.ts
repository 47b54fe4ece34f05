import { join } from 'node:path';
import { type Authority, buildAuthority } from './authority.ts';
import { makePrivateFolder, readIfThere, writePrivately } from './files.ts';
import { fileIssuanceLog, noIssuanceLog } from './issuance-log.ts';
import {
  hasMaterial,
  makeIntermediate,
  makeMaterial,
  readMaterial,
  type Signer,
  writeIntermediate,
  writeMaterial,
} from './material.ts';
import { type AuthorityOptions, invalid, resolveOptions } from './options.ts';
import { refusal } from './refusal.ts';
import { fileTokenStore, memoryTokenStore } from './tokens.ts';

const configName = 'authority.json';

/**
 * An authority: in `dir` when given (opened when there is one, else made), or in memory.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`, or a Refusal when the folder holds no usable authority.
 *
 * @example
 * const authority = createAuthority({ trustDomain: 'cluster.local' });
 * const { token } = authority.createToken({ namespace: 'shop', serviceAccount: 'web' });
 */
export function createAuthority(options: AuthorityOptions & { readonly dir?: string } = {}): Authority {
  const { dir } = options;
  if (dir !== undefined) return hasMaterial(dir) ? openAuthority(dir, options) : initAuthority(dir, options);
  const settings = resolveOptions(options);
  settings.logger.warn(
    { trustDomain: settings.trustDomain },
    'the certificate authority lives in memory: its root ends with this process, and all trust in it',
  );
  const material = makeMaterial(settings.trustDomain, settings.clock.wallNow());
  return buildAuthority(settings, material, {
    tokens: memoryTokenStore(),
    log: noIssuanceLog,
    saveIntermediate: () => {},
  });
}

/**
 * Makes an authority in a folder: `root.pem`, `intermediate.pem`, their keys (PKCS#8, mode 0600)
 * and `authority.json`. Refuses a folder that holds one already.
 */
export function initAuthority(dir: string, options: AuthorityOptions = {}): Authority {
  const settings = resolveOptions(options);
  if (hasMaterial(dir)) throw invalid('dir', 'the folder holds a certificate authority already', dir);
  const { trustDomain, leafTtlMs } = settings;
  makePrivateFolder(dir);
  writePrivately(join(dir, configName), `${JSON.stringify({ version: 1, trustDomain, leafTtlMs }, undefined, 2)}\n`);
  // The root comes last and says that everything is there.
  writeMaterial(dir, makeMaterial(trustDomain, settings.clock.wallNow()), settings.passphrase);
  return openAuthority(dir, options);
}

/**
 * Opens the authority that {@link initAuthority} made. Further roots to hand out may lie beside it
 * in `extra-roots.pem`. The root's key may be moved away; then the intermediate (one year) cannot
 * be renewed.
 */
export function openAuthority(dir: string, options: AuthorityOptions = {}): Authority {
  if (!hasMaterial(dir)) throw refusal('unavailable', `${dir} holds no certificate authority`);
  const settings = resolveOptions(options, readConfig(join(dir, configName)));
  const { trustDomain, passphrase, clock, logger } = settings;
  const found = readMaterial(dir, passphrase);
  const saveIntermediate = (intermediate: Signer): void => writeIntermediate(dir, intermediate, passphrase);
  let { intermediate } = found;
  if (intermediate === undefined) {
    const { root, rootKey } = found;
    if (rootKey === undefined) {
      throw refusal('unavailable', `${dir}: the intermediate certificate and its key do not belong together`);
    }
    logger.warn({ dir }, 'the intermediate certificate and its key do not belong together; making new ones');
    intermediate = makeIntermediate({ certificate: root, key: rootKey }, trustDomain, clock.wallNow());
    saveIntermediate(intermediate);
  }
  const extraRoots = [settings.extraRoots, readIfThere(join(dir, 'extra-roots.pem'))].filter(
    (pem) => pem !== undefined,
  );
  return buildAuthority(
    { ...settings, extraRoots: extraRoots.length === 0 ? undefined : extraRoots.join('\n') },
    { ...found, intermediate },
    {
      tokens: fileTokenStore(join(dir, 'tokens')),
      log: fileIssuanceLog(join(dir, 'issued.jsonl')),
      saveIntermediate,
    },
  );
}

function readConfig(path: string): { readonly trustDomain: string; readonly leafTtlMs: number } {
  try {
    const { version, trustDomain, leafTtlMs } = JSON.parse(readIfThere(path) ?? '') as Record<string, unknown>;
    if (version === 1 && typeof trustDomain === 'string' && typeof leafTtlMs === 'number') {
      return { trustDomain, leafTtlMs };
    }
  } catch {
    // The same answer for a file that is missing, cut short or of another kind.
  }
  throw refusal('unavailable', `${path} is not the configuration of a certificate authority`);
}
