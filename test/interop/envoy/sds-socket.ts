import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sdsSource, serveSds } from '@inmesh/sds';
import { type Credentials, createIdentityStore, type IdentitySource, silentLogger, systemClock } from 'inmesh/identity';
import type { Owner } from '../../support/upstream.ts';
import { httpVersion, type Message, type SecretReference, type Secrets } from './bootstrap.ts';

/** A socket at which our SDS server hands out an identity store. */
export interface SdsSocket {
  readonly path: string;
  write(credentials: Credentials): void;
  /** How an Envoy asks there for secrets by these names. */
  secrets(names?: { readonly certificate?: string; readonly roots?: string }): Secrets;
  identity(): IdentitySource;
}

/** Variants of the protocol that Envoys speak. */
export type SdsVariant = 'GRPC' | 'DELTA_GRPC';

/** Serves SDS until the test is over. */
export async function sdsSocket(t: Owner, first: Credentials, variant: SdsVariant = 'GRPC'): Promise<SdsSocket> {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-sds-'));
  const path = join(folder, 'socket');
  const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
  store.sink.update(first);
  const server = await serveSds({ path, identity: store });
  t.teardown(async () => {
    await server.close();
    store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    path,
    write: store.sink.update,
    secrets: ({ certificate = 'default', roots = 'ROOTCA' } = {}) => ({
      certificate: reference(certificate, variant),
      roots: reference(roots, variant),
      inBootstrap: [],
      clusters: [sdsCluster(path)],
    }),
    identity: () => sdsSource({ path }),
  };
}

// Istio's name for it.
const clusterName = 'sds-grpc';

function reference(name: string, variant: SdsVariant): SecretReference {
  return {
    name,
    sds_config: {
      resource_api_version: 'V3',
      api_config_source: {
        api_type: variant,
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: clusterName } }],
      },
    },
  };
}

function sdsCluster(path: string): Message {
  return {
    name: clusterName,
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: {
      cluster_name: clusterName,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
    ...httpVersion(2),
  };
}
