import { type Credentials, type IdentitySource, type OptionNames, refuseUnknownOptions } from 'inmesh/identity';
import { createWorkloadApiClient, type WorkloadApiOptions } from './client.ts';
import { reasonOf } from './problem.ts';
import { credentialsOfSvid, type SvidChoice, trustOf, type X509Context } from './x509.ts';

/** Options of {@link workloadApiSource}. */
export interface WorkloadApiSourceOptions extends WorkloadApiOptions {
  /** Take the SVID with this hint. Default: the first, which is the default identity. */
  readonly hint?: string;
  /** Take the SVID with this SPIFFE ID. */
  readonly spiffeId?: string;
}

const optionNames: OptionNames<WorkloadApiSourceOptions> = {
  hint: true,
  spiffeId: true,
  address: true,
  timeoutMs: true,
  clock: true,
  random: true,
};

/**
 * The identity of a mesh from the SPIFFE Workload API: certificates and trust bundles of this
 * workload, of its own trust domain and of those that it federates with, renewed as the agent
 * renews them. An SVID that is asked for by hint or ID and is not there is never replaced by another.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for an address that is none
 *
 * @example
 * const mesh = createMesh({ config: './mesh', identity: workloadApiSource() });
 */
export function workloadApiSource(options: WorkloadApiSourceOptions = {}): IdentitySource {
  refuseUnknownOptions('workloadApiSource', options, optionNames);
  const { hint, spiffeId, ...clientOptions } = options;
  const choice: SvidChoice = {
    ...(hint === undefined ? {} : { hint }),
    ...(spiffeId === undefined ? {} : { spiffeId }),
  };
  const client = createWorkloadApiClient(clientOptions);
  return {
    name: `workload-api:${client.address}`,
    run: async (sink, signal) => {
      let held: Credentials | undefined;
      const update = (context: X509Context): void => {
        try {
          held = credentialsOfSvid(context, choice);
        } catch (error) {
          // Our own certificate stays until it expires; trust that was taken away from others does not.
          if (held !== undefined) {
            const { crlsByTrustDomain: _former, ...own } = held;
            sink.update((held = { ...own, ...trustOf(context) }));
          }
          sink.reject(error instanceof Error ? error : new Error(reasonOf(error)));
          return;
        }
        sink.update(held);
      };
      try {
        await client.watchX509Svids(
          { update, problem: (error, kind) => (kind === 'unreachable' ? sink.lost(error) : sink.reject(error)) },
          signal,
        );
      } catch (error) {
        // Asking again is of no use; what is in force stays so until it expires.
        sink.reject(error instanceof Error ? error : new Error(reasonOf(error)));
        await aborted(signal);
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
