import { createSecureContext, type SecureContext } from 'node:tls';
import type { TlsParameters } from '../model/tls-parameters.ts';
import type { ActiveIdentity } from './store.ts';
import { meshTlsOptions } from './tls-options.ts';

/** What is made beside the context of an identity: gone with it. */
const narrowed = new WeakMap<ActiveIdentity, Map<string, SecureContext>>();

/** The context for connections to servers of the mesh, of which there is one for each identity and choice of parameters. */
export function clientContextOf(identity: ActiveIdentity, parameters: TlsParameters | undefined): SecureContext {
  if (parameters === undefined) return identity.clientContext;
  let known = narrowed.get(identity);
  if (known === undefined) narrowed.set(identity, (known = new Map()));
  const key = JSON.stringify(parameters);
  let context = known.get(key);
  if (context === undefined) {
    context = createSecureContext(meshTlsOptions(identity.credentials, parameters));
    known.set(key, context);
  }
  return context;
}
