import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { MeshError } from '../errors.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { type OptionNames, refuseUnknownOptions } from '../lib/known-options.ts';
import { isTrustDomain } from '../model/spiffe-id.ts';
import { checkCredentials, credentialsOf } from './credentials.ts';
import { readPemCrls } from './crl.ts';
import { watchFolders } from './file-hints.ts';
import { type FileLayout, filesOfLayout } from './file-layouts.ts';
import { permissionWarnings } from './file-permissions.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials, IdentitySink, IdentitySource } from './source.ts';
import { parseSpiffeBundleMap } from './spiffe-bundle.ts';
import { checkLeaf } from './svid.ts';
import { type TrustBundles, withFacts } from './trust.ts';

/** Options of {@link fileIdentitySource}. */
export interface FileIdentityOptions {
  /** Who wrote the files: their folder and names. Default `istio`. What is said below goes before it. */
  readonly layout?: FileLayout;
  /** Folder of the files. Default: that of the layout (`/etc/certs`). */
  readonly directory?: string;
  /** Leaf first, then intermediates. Default: that of the layout (`cert-chain.pem`). */
  readonly certificateFile?: string;
  /** Not encrypted. Default: that of the layout (`key.pem`). */
  readonly keyFile?: string;
  /** Roots of the own trust domain. Default: that of the layout (`root-cert.pem`). */
  readonly rootFile?: string;
  /** Roots of other trust domains: trust domain to file. */
  readonly federatedRootFiles?: Readonly<Record<string, string>>;
  /** Roots of all trust domains, the own one among them, in place of the two above: JSON as in gRFC A87. */
  readonly spiffeBundleMapFile?: string;
  /**
   * Certificate revocation lists of the own trust domain, PEM: Istio's `ca-crl.pem`. An empty file is
   * none. A broken one leaves the last good lists in force, and does not hold up certificates.
   */
  readonly crlFile?: string;
  /** How often the files are looked at when the system does not say that they changed, milliseconds. Default 500. */
  readonly pollMs?: number;
  readonly clock?: Clock;
}

const optionNames: OptionNames<FileIdentityOptions> = {
  layout: true,
  directory: true,
  certificateFile: true,
  keyFile: true,
  rootFile: true,
  federatedRootFiles: true,
  spiffeBundleMapFile: true,
  crlFile: true,
  pollMs: true,
  clock: true,
};

/** Files that cannot be used are complained of once they were so for this long: writers need a moment. */
const patienceMs = 1_000;
/** Roots that are gone must be gone for this long: a bundle that is being written lacks its end. */
const shrinkMs = 200;

/**
 * Certificates from PEM files, as Istio's agent, cert-manager or an operator writes them. The files
 * are looked at whenever the system says that they changed, and every half second. A new certificate
 * is used only together with its own key, and only when no file changed while they were read: half of
 * a rotation is never seen. Names are relative to the folder, or absolute.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that can never work.
 *
 * @example
 * fileIdentitySource({ layout: 'cert-manager', directory: '/tls' });
 */
export function fileIdentitySource(options: FileIdentityOptions = {}): IdentitySource {
  refuseUnknownOptions('fileIdentitySource', options, optionNames);
  const { clock = systemClock, pollMs = 500 } = options;
  const files = filesOf(options);
  const lists = files.crl === undefined ? [] : [files.crl];
  const all = [files.certificate, files.key, ...files.roots.map(({ file }) => file), ...lists];

  const run = async (sink: IdentitySink, signal: AbortSignal): Promise<void> => {
    const hints = watchFolders(all);
    /** What was accepted, and the fingerprint of its files. */
    let accepted: { readonly print: string; readonly bundles: TrustBundles } | undefined;
    /** Since when the files are as they are, without having been accepted. */
    let pending: { readonly print: string; readonly since: number } | undefined;
    /** What was told last, so that bad files are complained of once and not at every look. */
    let reported = '';
    const warned = new Set<string>();
    const report = (what: string, tell: () => void): void => {
      if (reported !== what) tell();
      reported = what;
    };
    const warn = async (): Promise<void> => {
      const warnings = await permissionWarnings({ key: files.key, all });
      for (const warning of warnings) {
        if (signal.aborted || warned.has(warning.message)) continue;
        warned.add(warning.message);
        sink.warn?.(warning);
      }
    };
    /** Looks once, and says after how long to look again. */
    const look = async (): Promise<number> => {
      const print = await fingerprint(all);
      if (signal.aborted) return 0;
      if (print instanceof Error) {
        pending = undefined;
        report(print.message, () => sink.lost(print));
        hints.renew();
        return pollMs;
      }
      // After a trouble the same files are told again: they are the end of it.
      if (print === accepted?.print && reported === '') {
        pending = undefined;
        return pollMs;
      }
      const loaded = await load(files, clock.wallNow());
      // What changed while it was read may be half of a change.
      if ((await fingerprint(all)) !== print || signal.aborted) return Math.min(pollMs, shrinkMs);
      if (pending?.print !== print) pending = { print, since: clock.now() };
      const age = clock.now() - pending.since;
      if (loaded instanceof Error) {
        if (age >= patienceMs) report(print, () => sink.reject(loaded));
        return Math.min(pollMs, patienceMs);
      }
      // The store refuses a broken list and takes the rest; one that is being written is waited for.
      if (age < patienceMs && !isReadable(loaded)) return Math.min(pollMs, shrinkMs);
      if (accepted !== undefined && age < shrinkMs && shrank(accepted.bundles, loaded.trustBundles)) {
        return Math.min(pollMs, shrinkMs);
      }
      accepted = { print, bundles: loaded.trustBundles };
      pending = undefined;
      reported = '';
      await warn();
      if (signal.aborted) return 0;
      sink.update(loaded);
      hints.renew();
      return pollMs;
    };
    if (signal.aborted) return;
    hints.renew();
    try {
      while (!signal.aborted) await hints.wait(clock, await look(), signal);
    } finally {
      hints.close();
    }
  };
  return { name: `files:${files.directory}`, run };
}

interface Files {
  readonly directory: string;
  readonly certificate: string;
  readonly key: string;
  readonly crl: string | undefined;
  /** `bundleMap`: of all trust domains. Without a trust domain: of the own one. */
  readonly roots: readonly {
    readonly file: string;
    readonly trustDomain: string | undefined;
    readonly bundleMap: boolean;
  }[];
}

function filesOf(options: FileIdentityOptions): Files {
  const { federatedRootFiles, rootFile, spiffeBundleMapFile } = options;
  const layout = filesOfLayout(options.layout ?? 'istio');
  if (spiffeBundleMapFile !== undefined && (rootFile !== undefined || federatedRootFiles !== undefined)) {
    const message = 'fileIdentitySource: spiffeBundleMapFile holds all roots: expected no other file of roots with it';
    throw new MeshError('ERR_MESH_OPTION_INVALID', message);
  }
  if (options.pollMs !== undefined && !(options.pollMs > 0)) {
    const message = `fileIdentitySource: pollMs: expected more than 0, not ${options.pollMs}`;
    throw new MeshError('ERR_MESH_OPTION_INVALID', message);
  }
  const wrong = Object.keys(federatedRootFiles ?? {}).find((name) => !isTrustDomain(name));
  if (wrong !== undefined) {
    const message = `fileIdentitySource: federatedRootFiles: expected a trust domain, not ${JSON.stringify(wrong.slice(0, 300))}`;
    throw new MeshError('ERR_MESH_OPTION_INVALID', message);
  }
  const directory = resolve(options.directory ?? layout.directory);
  const place = (name: string): string => (isAbsolute(name) ? name : join(directory, name));
  const own = { file: place(rootFile ?? layout.rootFile), trustDomain: undefined, bundleMap: false };
  const others = Object.entries(federatedRootFiles ?? {}).map(([trustDomain, name]) => {
    return { file: place(name), trustDomain, bundleMap: false };
  });
  return {
    directory: options.directory ?? layout.directory,
    certificate: place(options.certificateFile ?? layout.certificateFile),
    key: place(options.keyFile ?? layout.keyFile),
    crl: options.crlFile === undefined ? undefined : place(options.crlFile),
    roots:
      spiffeBundleMapFile === undefined
        ? [own, ...others]
        : [{ file: place(spiffeBundleMapFile), trustDomain: undefined, bundleMap: true }],
  };
}

/** Changes whenever one of the files does: also when a symbolic link (Kubernetes `..data`) is turned to another folder. */
async function fingerprint(names: readonly string[]): Promise<string | Error> {
  const prints: string[] = [];
  try {
    // One after the other, so that it is always the same file that is found missing first.
    for (const name of names) {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(name, { bigint: true });
      prints.push(`${dev}.${ino}.${size}.${mtimeNs}.${ctimeNs}`);
    }
    return prints.join(' ');
  } catch (cause) {
    return unreadable(cause);
  }
}

function unreadable(cause: unknown): MeshError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new MeshError('ERR_MESH_NO_IDENTITY', `certificate files cannot be read: ${reason}`, { cause });
}

async function load(files: Files, now: number): Promise<Credentials | Error> {
  try {
    const certificateChainPem = await readFile(files.certificate, 'utf8');
    const chain = readPemCertificates(certificateChainPem, files.certificate);
    const { trustDomain } = checkLeaf(withFacts(chain[0] as (typeof chain)[number]).facts);
    const privateKeyPem = await readFile(files.key, 'utf8');
    const trustBundles = await loadRoots(files, trustDomain);
    const crl = files.crl === undefined ? '' : await readFile(files.crl, 'utf8');
    const credentials = credentialsOf({
      certificateChainPem,
      privateKeyPem,
      trustBundles,
      ...(crl.trim() === '' ? {} : { crlsByTrustDomain: new Map([[trustDomain, [crl]]]) }),
    });
    checkCredentials(credentials, { now });
    return credentials;
  } catch (error) {
    return error instanceof Error ? error : new MeshError('ERR_MESH_NO_IDENTITY', String(error));
  }
}

async function loadRoots(files: Files, ownTrustDomain: string): Promise<TrustBundles> {
  const bundles = new Map<string, readonly string[]>();
  for (const { bundleMap, file, trustDomain } of files.roots) {
    const text = await readFile(file, 'utf8');
    if (bundleMap) {
      for (const [domain, bundle] of parseSpiffeBundleMap(text, file)) bundles.set(domain, bundle.x509Authorities);
    } else if (trustDomain === ownTrustDomain) {
      throw new MeshError('ERR_MESH_OPTION_INVALID', `${trustDomain} is the own trust domain`);
    } else {
      const roots = readPemCertificates(text, file).map((root) => root.toString());
      bundles.set(trustDomain ?? ownTrustDomain, roots);
    }
  }
  return bundles;
}

function isReadable({ crlsByTrustDomain }: Credentials): boolean {
  try {
    for (const texts of crlsByTrustDomain?.values() ?? []) for (const text of texts) readPemCrls(text, 'crlFile');
    return true;
  } catch {
    return false;
  }
}

/** Whether a root is gone that was there. */
function shrank(before: TrustBundles, after: TrustBundles): boolean {
  for (const [domain, roots] of before) {
    const left = new Set(after.get(domain));
    if (roots.some((root) => !left.has(root))) return true;
  }
  return false;
}
