import type { RequestListener } from 'node:http';
import { staticSource } from '../../src/config/static-source.ts';
import { caSource } from '../../src/identity/ca-source.ts';
import type { Credentials, IdentitySink, IdentitySource } from '../../src/identity/source.ts';
import { createMesh, type Mesh, type MeshOptions } from '../../src/index.ts';
import { type RecordingLogger, recordingLogger } from '../support/recording-logger.ts';
import type { AuthorityProcess } from './authorities.ts';
import type { Lab } from './lab.ts';
import { caller, type Place, type ServiceSetup, serviceResources } from './resources.ts';

/** SPIFFE ID of a service account of the laboratory. */
export const idOf = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;

/** Nobody is served in plaintext. */
export const strict: object = {
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: { name: 'default', namespace: 'shop' },
  spec: { mtls: { mode: 'STRICT' } },
};

/** An endpoint that is expected to be `shop`, over mutual TLS. */
export const place = (port: number): Place => ({
  address: '127.0.0.1',
  port,
  serviceAccount: 'shop',
  labels: { 'security.istio.io/tlsMode': 'istio' },
});

/** A source of identities that is told what to tell. */
export interface HandedIdentity {
  readonly source: IdentitySource;
  readonly sink: IdentitySink;
}

export function handed(first: Credentials): HandedIdentity {
  const { promise, resolve } = Promise.withResolvers<IdentitySink>();
  let sink: IdentitySink | undefined;
  void promise.then((given) => {
    sink = given;
  });
  return {
    source: {
      name: 'lab',
      run: async (given) => {
        given.update(first);
        resolve(given);
      },
    },
    sink: {
      update: (credentials) => sink?.update(credentials),
      reject: (problem) => sink?.reject(problem),
      lost: (reason) => sink?.lost(reason),
    },
  };
}

/** Asks an authority, and remembers what it got. */
export interface AskingIdentity {
  readonly source: IdentitySource;
  readonly got: readonly Credentials[];
  /** Moments (milliseconds, monotonic) at which the authority failed. */
  readonly failures: readonly number[];
}

export function asking(url: string, trustRoot: string, token: string, name: string): AskingIdentity {
  const source = caSource({ url, trustRoot, token, spiffeId: idOf(name) });
  const got: Credentials[] = [];
  const failures: number[] = [];
  return {
    got,
    failures,
    source: {
      name: source.name,
      run: (sink, signal) =>
        source.run(
          {
            update: (credentials) => {
              got.push(credentials);
              sink.update(credentials);
            },
            reject: (problem) => {
              failures.push(performance.now());
              sink.reject(problem);
            },
            lost: (reason) => {
              failures.push(performance.now());
              sink.lost(reason);
            },
          },
          signal,
        ),
    },
  };
}

/** {@link asking} an authority that runs. */
export async function askingOf(authority: AuthorityProcess, name: string): Promise<AskingIdentity> {
  return asking(authority.url, authority.rootPem, await authority.token(name), name);
}

/** A mesh of the laboratory. */
export interface Member extends Mesh {
  readonly log: RecordingLogger;
}

/** A workload of namespace `shop` that serves in STRICT mode; it may not be ready yet. */
export function member(
  lab: Lab,
  name: string,
  identity: IdentitySource,
  setup: ServiceSetup | undefined = undefined,
  options: MeshOptions = {},
): Member {
  const log = recordingLogger();
  const workload = { ...caller, name, serviceAccount: name, labels: { app: name } };
  const resources = [strict, ...(setup === undefined ? [] : serviceResources(setup))];
  const config = staticSource(resources, { workload });
  const mesh = createMesh({ workload, identity, config, logger: log, drainGraceMs: 100, ...options });
  lab.teardown(() => mesh.close());
  return { ...mesh, log };
}

/** {@link member} that answers; its port. */
export async function serveAs(mesh: Member, handler: RequestListener): Promise<number> {
  return (await mesh.listen(handler, { host: '127.0.0.1' })).port;
}
