import { staticSource } from '../../src/config/static-source.ts';
import type { IdentitySource } from '../../src/identity/source.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { makeAuthority, type TestAuthority } from './certificates.ts';
import { shopWeb } from './inbound.ts';
import { recordingLogger } from './recording-logger.ts';

/** Nobody may ask for anything below `/admin`. */
export const denyAdmin = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-admin, namespace: shop}
spec:
  action: DENY
  rules:
  - to:
    - operation: {paths: ["/admin", "/admin/*"]}
`;

/** A mesh that is ready, with policies from YAML; with an authority it has an identity, too. */
export async function shopMesh(
  options: { readonly yaml?: string; readonly authority?: TestAuthority; readonly clock?: Clock } = {},
): Promise<Mesh> {
  const { authority } = options;
  const identity: IdentitySource | undefined = authority && {
    name: 'test',
    run: async (sink) => sink.update(authority.issue('spiffe://cluster.local/ns/shop/sa/web')),
  };
  const mesh = createMesh({
    workload: shopWeb,
    config: staticSource(options.yaml ?? denyAdmin, { workload: shopWeb }),
    identity: identity ?? false,
    logger: recordingLogger(),
    clock: options.clock ?? systemClock,
  });
  await mesh.ready();
  return mesh;
}

export { makeAuthority };
