import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Credentials } from '../../../src/identity/source.ts';
import type { Owner } from '../../support/upstream.ts';
import { type Message, type Secrets, typed } from './bootstrap.ts';

/** A folder of certificates that changes all at once, as Kubernetes mounts Secrets. */
export interface CertificateFolder {
  readonly path: string;
  /** Puts these in place of the last ones. */
  write(credentials: Credentials): void;
  /** How an Envoy takes its certificates out of this folder: SDS from files, with the folder watched. */
  readonly secrets: Secrets;
}

/** A folder with Istio's file names that is removed at the end of the test. */
export function certificateFolder(t: Owner, first: Credentials): CertificateFolder {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-certs-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  let generation = 0;
  const write = (credentials: Credentials): void => {
    const version = `..${generation++}`;
    mkdirSync(join(path, version));
    for (const [name, text] of Object.entries(filesOf(credentials))) writeFileSync(join(path, version, name), text);
    symlinkSync(version, join(path, '..data_new'));
    renameSync(join(path, '..data_new'), join(path, '..data'));
  };
  for (const name of Object.keys(filesOf(first))) symlinkSync(join('..data', name), join(path, name));
  write(first);

  const file = (name: string): Message => ({ filename: join(path, name) });
  const watched = { watched_directory: { path } };
  const reference = (name: string, secret: Message): Message & { readonly name: string } => {
    const described = join(path, `${name}.json`);
    const resource = typed('envoy.extensions.transport_sockets.tls.v3.Secret', { name, ...secret });
    writeFileSync(described, JSON.stringify({ resources: [resource] }));
    return {
      name,
      sds_config: { resource_api_version: 'V3', path_config_source: { path: described, ...watched } },
    };
  };
  return {
    path,
    write,
    secrets: {
      certificate: reference('default', {
        tls_certificate: { certificate_chain: file('cert-chain.pem'), private_key: file('key.pem'), ...watched },
      }),
      roots: reference('ROOTCA', { validation_context: { trusted_ca: file('root-cert.pem'), ...watched } }),
      inBootstrap: [],
      clusters: [],
    },
  };
}

function filesOf(credentials: Credentials): Readonly<Record<string, string>> {
  return {
    'cert-chain.pem': credentials.certificateChainPem,
    'key.pem': credentials.privateKeyPem,
    'root-cert.pem': [...credentials.trustBundles.values()].flat().join(''),
  };
}
