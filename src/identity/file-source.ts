import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError } from '../errors.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { checkCredentials, credentialsOf } from './credentials.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials, IdentitySink, IdentitySource } from './source.ts';
import { checkLeaf } from './svid.ts';
import { withFacts } from './trust.ts';
import { waitFor } from './wait.ts';

/** Options of {@link fileIdentitySource}. */
export interface FileIdentityOptions {
  /** Folder of the three files. */
  readonly directory: string;
  /** Leaf first, then intermediates. Default `cert-chain.pem`, as Istio names it. */
  readonly certificateFile?: string;
  /** Default `key.pem`. */
  readonly keyFile?: string;
  /** Roots of the own trust domain. Default `root-cert.pem`. */
  readonly rootFile?: string;
  /** Roots of other trust domains: trust domain to file. */
  readonly federatedRootFiles?: Readonly<Record<string, string>>;
  /** How often the files are looked at, milliseconds. Default 1,000. */
  readonly pollMs?: number;
  readonly clock?: Clock;
}

/**
 * Certificates from PEM files, as cert-manager, istio-agent or an operator writes them. The files
 * are looked at every second. A new certificate is used only together with its own key, and only
 * when no file changed while they were read: half of a rotation is never seen. Names are relative
 * to the folder, or absolute.
 *
 * @example
 * fileIdentitySource({ directory: '/etc/certs' });
 */
export function fileIdentitySource(options: FileIdentityOptions): IdentitySource {
  const { clock = systemClock, pollMs = 1_000 } = options;
  const path = (name: string): string => join(options.directory, name);
  const absolute = (name: string): string => (name.startsWith('/') ? name : path(name));
  const files: Files = {
    certificate: absolute(options.certificateFile ?? 'cert-chain.pem'),
    key: absolute(options.keyFile ?? 'key.pem'),
    root: absolute(options.rootFile ?? 'root-cert.pem'),
    federated: Object.entries(options.federatedRootFiles ?? {}).map(([domain, name]) => [domain, absolute(name)]),
  };

  const run = async (sink: IdentitySink, signal: AbortSignal): Promise<void> => {
    /** Fingerprint of the files that were accepted. */
    let accepted: string | undefined;
    /** Fingerprint that was bad on the last look: reported once it is bad twice, since writers need a moment. */
    let suspicious: string | undefined;
    /** What was told last, so that a bad file is complained of once and not every second. */
    let reported = '';
    const report = (what: string, tell: () => void): void => {
      if (reported !== what) tell();
      reported = what;
    };
    const look = async (): Promise<void> => {
      const before = await fingerprint(files);
      if (signal.aborted) return;
      if (before instanceof Error) {
        suspicious = undefined;
        return report(before.message, () => sink.lost(before));
      }
      if (before === accepted) return;
      const loaded = await load(files, clock.wallNow());
      if ((await fingerprint(files)) !== before || signal.aborted) return;
      if (!(loaded instanceof Error)) {
        accepted = before;
        suspicious = undefined;
        reported = '';
        return sink.update(loaded);
      }
      if (suspicious === before) report(before, () => sink.reject(loaded));
      suspicious = before;
    };
    while (!signal.aborted) {
      await look();
      await waitFor(clock, pollMs, signal);
    }
  };
  return { name: `files:${options.directory}`, run };
}

interface Files {
  readonly certificate: string;
  readonly key: string;
  readonly root: string;
  readonly federated: readonly (readonly [string, string])[];
}

/** Changes whenever one of the files does: also when a symbolic link (Kubernetes `..data`) is turned to another folder. */
async function fingerprint(files: Files): Promise<string | Error> {
  const names = [files.certificate, files.key, files.root, ...files.federated.map(([, file]) => file)];
  const prints: string[] = [];
  try {
    // One after the other, so that it is always the same file that is found missing first.
    for (const name of names) {
      const { dev, ino, size, mtimeNs } = await stat(name, { bigint: true });
      prints.push(`${dev}.${ino}.${size}.${mtimeNs}`);
    }
    return prints.join(' ');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new MeshError('ERR_MESH_NO_IDENTITY', `certificate files cannot be read: ${reason}`, { cause });
  }
}

async function load(files: Files, now: number): Promise<Credentials | Error> {
  try {
    const [certificateChainPem, privateKeyPem, root] = await Promise.all(
      [files.certificate, files.key, files.root].map((name) => readFile(name, 'utf8')),
    );
    const chain = readPemCertificates(certificateChainPem as string, files.certificate);
    const { trustDomain } = checkLeaf(withFacts(chain[0] as (typeof chain)[number]).facts);
    const trustBundles = new Map<string, readonly string[]>([[trustDomain, pemsOf(root as string, files.root)]]);
    for (const [domain, file] of files.federated) {
      if (domain === trustDomain) throw new MeshError('ERR_MESH_OPTION_INVALID', `${domain} is the own trust domain`);
      trustBundles.set(domain, pemsOf(await readFile(file, 'utf8'), file));
    }
    const credentials = credentialsOf({
      certificateChainPem: certificateChainPem as string,
      privateKeyPem: privateKeyPem as string,
      trustBundles,
    });
    checkCredentials(credentials, { now });
    return credentials;
  } catch (error) {
    return error instanceof Error ? error : new MeshError('ERR_MESH_NO_IDENTITY', String(error));
  }
}

function pemsOf(text: string, what: string): readonly string[] {
  return readPemCertificates(text, what).map((root) => root.toString());
}
