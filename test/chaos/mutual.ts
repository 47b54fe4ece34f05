import type { RequestListener } from 'node:http';
import { compile } from '../../src/config/compile.ts';
import type { IdentitySource } from '../../src/identity/source.ts';
import { createMesh } from '../../src/index.ts';
import { makeAuthority, type TestAuthority } from '../support/certificates.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import type { Lab, LabMesh } from './lab.ts';
import { caller, type Place, type ServiceSetup } from './resources.ts';

/** Servers and a caller that prove who they are to each other. */
export interface MutualLab {
  readonly authority: TestAuthority;
  /** A server with the identity of this service account; its port. */
  serve(name: string, handler: RequestListener): Promise<number>;
  /** An endpoint that is expected to be `shop`. */
  place(port: number): Place;
  mesh(setup: ServiceSetup): Promise<LabMesh>;
}

export function mutualLab(lab: Lab): MutualLab {
  const authority = makeAuthority();
  const identityOf = (name: string): IdentitySource => ({
    name: 'lab',
    run: async (sink) => sink.update(authority.issue(`spiffe://cluster.local/ns/shop/sa/${name}`)),
  });
  const nothing = compile([], { workload: caller });
  if (!nothing.ok) throw new Error('nothing is a configuration too');
  return {
    authority,
    async serve(name, handler) {
      const mesh = createMesh({
        workload: { name, namespace: 'shop', serviceAccount: name },
        identity: identityOf(name),
        config: { name: 'lab', run: async (sink) => sink.update(nothing.snapshot, nothing.report) },
        logger: recordingLogger(),
      });
      lab.teardown(() => mesh.close());
      return (await mesh.listen(handler, { host: '127.0.0.1' })).port;
    },
    place: (port) => ({
      address: '127.0.0.1',
      port,
      serviceAccount: 'shop',
      labels: { 'security.istio.io/tlsMode': 'istio' },
    }),
    mesh: (setup) => lab.mesh(setup, { identity: identityOf(caller.name) }),
  };
}
