import type { AuthorizationCheck, AuthorizationVerdict, ExternalAuthorization } from 'inmesh';
import { writeCheckRequest } from './check-request.ts';
import { readCheckResponse } from './check-response.ts';

const method = '/envoy.service.auth.v3.Authorization/Check';

/**
 * Asks `envoyExtAuthzGrpc` providers in Envoy's protocol (`envoy.service.auth.v3`). The calls go through
 * the mesh as all others do, so that there are no channels of its own to be set up or closed.
 *
 * @example
 * const mesh = createMesh({ externalAuthorization: grpcExternalAuthorization() });
 */
export function grpcExternalAuthorization(): ExternalAuthorization {
  return {
    async check({ attributes, unary }: AuthorizationCheck): Promise<AuthorizationVerdict> {
      return readCheckResponse(await unary(method, writeCheckRequest(attributes)));
    },
  };
}
