import type { AuthorizationObserver } from './authz/authorizer.ts';
import { compileEgress, type EgressAuthorizers } from './authz/egress.ts';
import { createEgress, type Egress } from './authz/egress-calls.ts';
import { type AuthorizationCount, createTallies } from './authz/tallies.ts';
import { nameOf } from './authz/verdicts.ts';
import type { Logger } from './lib/logger.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { HostTable } from './route/host-table.ts';
import { normalizePath } from './sanitize/normalize-path.ts';

/** Keeps what policies say about outbound calls, and counts. */
export interface EgressGuard {
  /** @param hosts the host table of this snapshot */
  use(snapshot: Snapshot, hosts: HostTable): void;
  current(): Egress | undefined;
  counts(): readonly AuthorizationCount[];
}

export function createEgressGuard(logger: Logger | undefined): EgressGuard {
  const tallies = createTallies();
  const observer: AuthorizationObserver = {
    audited() {},
    shadowed({ host, method, path }, { action, id, result }) {
      logger?.debug({ action, dryRun: true, host, method, path }, `egress: shadow ${result}, matched policy ${id}`);
    },
  };
  let policies: Snapshot['egress'];
  let authorizers: EgressAuthorizers | undefined;
  let egress: Egress | undefined;
  return {
    use(snapshot, hosts) {
      if (snapshot.egress !== policies) {
        policies = snapshot.egress;
        tallies.keep(new Set((policies ?? []).map(({ provenance }) => nameOf(provenance))));
        authorizers = policies && compileEgress(policies, tallies);
      }
      const { pathNormalization } = snapshot.inbound;
      // Names of services may have changed. Policies see the path that is sent.
      const normalize = (path: string): string | undefined => normalizePath(path, pathNormalization);
      egress = authorizers && createEgress(authorizers, hosts, normalize, observer);
    },
    current: () => egress,
    counts: () => tallies.counts(),
  };
}
