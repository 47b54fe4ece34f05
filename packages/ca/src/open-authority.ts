import { join } from 'node:path';
import { readPemCrls, systemClock } from 'inmesh/identity';
import { buildAuthority } from './authority.ts';
import type { Authority } from './authority-types.ts';
import { makePrivateFolder, readIfThere } from './files.ts';
import { type Holdings, memoryHoldings } from './holdings.ts';
import { createHoldings, folderHoldings, hasHoldings, recoverFolder } from './holdings-folder.ts';
import { fileIssuanceLog, memoryIssuanceLog } from './issuance-log.ts';
import { makeGeneration, makeIntermediate, type Root, type Signer } from './material.ts';
import {
  type AuthorityOptions,
  type AuthoritySettings,
  invalid,
  type RememberedOptions,
  resolveOptions,
} from './options.ts';
import { readPlugged } from './plugged.ts';
import { refusal } from './refusal.ts';
import { noRevocations } from './revocation.ts';
import { fileTokenStore, memoryTokenStore } from './tokens.ts';

const configName = 'authority.json';

/** Options of {@link initAuthority}. */
export interface InitOptions extends AuthorityOptions {
  /**
   * Folder with an intermediate that another authority made, as in Istio's `cacerts` secret:
   * `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem` and `root-cert.pem`. Default: a root and an
   * intermediate are made.
   */
  readonly from?: string;
}

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
  if (dir !== undefined) {
    // Several processes may begin with one empty folder: the first one makes the authority, all open it.
    if (!hasHoldings(dir)) makeAuthority(dir, options);
    return openAuthority(dir, options);
  }
  const settings = resolveOptions(options);
  settings.logger.warn(
    { trustDomain: settings.trustDomain },
    'the certificate authority lives in memory: its root ends with this process, and all trust in it',
  );
  return buildAuthority(settings, {
    tokens: memoryTokenStore(),
    log: memoryIssuanceLog(settings.clock),
    store: memoryHoldings(firstHoldings(settings)),
    extraCrls: [],
  });
}

/**
 * Makes an authority in a folder (mode 0700): certificates, their keys (PKCS#8, mode 0600) and
 * `authority.json`. Refuses a folder that holds one already. A crash leaves the whole authority or none.
 */
export function initAuthority(dir: string, options: InitOptions = {}): Authority {
  resolveOptions(options);
  if (hasHoldings(dir) || !makeAuthority(dir, options)) {
    throw invalid('dir', 'the folder holds a certificate authority already', dir);
  }
  return openAuthority(dir, options);
}

/** False when another process made one meanwhile. */
function makeAuthority(dir: string, options: InitOptions): boolean {
  const settings = resolveOptions(options);
  const { trustDomain, leafTtlMs, keyType, nameConstraints, passphrase, clock, logger } = settings;
  const config = { version: 1, trustDomain, leafTtlMs, keyType, nameConstraints };
  const more = new Map([[configName, `${JSON.stringify(config, undefined, 2)}\n`]]);
  let holdings: Holdings;
  if (options.from === undefined) {
    holdings = firstHoldings(settings);
  } else {
    const plugged = readPlugged(options.from, { trustDomain, passphrase, now: clock.wallNow() });
    for (const warning of plugged.warnings) logger.warn({ from: options.from }, warning);
    holdings = { current: plugged.generation, revocations: noRevocations };
    if (plugged.crls !== undefined) more.set('extra-crls.pem', plugged.crls);
    if (plugged.otherRoots.length > 0) more.set('extra-roots.pem', plugged.otherRoots.join(''));
  }
  makePrivateFolder(dir);
  return createHoldings(dir, holdings, more, { passphrase, clock, logger });
}

function firstHoldings({ trustDomain, keyType, nameConstraints, clock }: AuthoritySettings): Holdings {
  const current = makeGeneration({ trustDomain, keyType, nameConstraints, now: clock.wallNow() });
  return { current, revocations: noRevocations };
}

/**
 * Opens the authority that {@link initAuthority} made. Further roots to hand out may lie beside it
 * in `extra-roots.pem`, revocation lists of a root that is kept elsewhere in `extra-crls.pem`. The
 * root's key may be moved away; then the intermediate (one year) cannot be renewed.
 */
export function openAuthority(dir: string, options: AuthorityOptions = {}): Authority {
  if (!hasHoldings(dir)) throw refusal('unavailable', `${dir} holds no certificate authority`);
  recoverFolder(dir, options.clock ?? systemClock);
  const settings = resolveOptions(options, readConfig(join(dir, configName)));
  const { clock, logger, passphrase, trustDomain, keyType, nameConstraints } = settings;
  const remake = (root: Required<Root>): Signer => {
    logger.warn({ dir }, 'the intermediate certificate and its key do not belong together; making new ones');
    return makeIntermediate(root, { trustDomain, keyType, nameConstraints, now: clock.wallNow() });
  };
  const store = folderHoldings(dir, { passphrase, clock, logger, remake });
  const extraRoots = [settings.extraRoots, readIfThere(join(dir, 'extra-roots.pem'))].filter(
    (pem) => pem !== undefined,
  );
  const extraCrls = readLists(join(dir, 'extra-crls.pem'));
  return buildAuthority(
    { ...settings, extraRoots: extraRoots.length === 0 ? undefined : extraRoots.join('\n') },
    {
      tokens: fileTokenStore(join(dir, 'tokens')),
      log: fileIssuanceLog(join(dir, 'issued.jsonl'), clock),
      store,
      extraCrls: extraCrls === undefined ? [] : [extraCrls],
    },
  );
}

function readLists(path: string): string | undefined {
  const text = readIfThere(path);
  try {
    if (text !== undefined) readPemCrls(text, 'extra-crls.pem');
    return text;
  } catch (cause) {
    throw refusal('unavailable', `${path}: ${(cause as Error).message}`, cause);
  }
}

/** What the folder of an authority remembers. @throws Refusal */
export function readConfig(path: string): RememberedOptions {
  try {
    const config = JSON.parse(readIfThere(path) ?? '') as Record<string, unknown>;
    const { version, trustDomain, leafTtlMs, keyType, nameConstraints } = config;
    if (version === 1 && typeof trustDomain === 'string' && typeof leafTtlMs === 'number') {
      return {
        trustDomain,
        leafTtlMs,
        ...(typeof keyType === 'string' ? { keyType } : {}),
        ...(typeof nameConstraints === 'boolean' ? { nameConstraints } : {}),
      };
    }
  } catch {
    // The same answer for a file that is missing, cut short or of another kind.
  }
  throw refusal('unavailable', `${path} is not the configuration of a certificate authority`);
}
