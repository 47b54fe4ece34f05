import type { Logger } from '../lib/logger.ts';
import type { AuthorizationObserver } from './authorizer.ts';
import type { AuthorizationFacts } from './rule.ts';

/** A request that a rule of an AUDIT policy matched. */
export interface AuthorizationAudit {
  /** `<namespace>/<name>` of the AUDIT policy; the first that matches. */
  readonly policy: string;
  /** Position of the rule in it. */
  readonly rule: number;
  readonly method: string;
  /** Canonical path without query. */
  readonly path: string;
  /** As the caller wrote it. */
  readonly host: string;
  /** SPIFFE ID of the caller; nothing in plaintext. */
  readonly peer?: string;
  /** `<iss>/<sub>` of the verified token; nothing without one. */
  readonly requestPrincipal?: string;
  /** Whether DENY and ALLOW policies let it pass; the AUDIT policy has no say in it. */
  readonly allowed: boolean;
  /** Why not, in Envoy's words: `rbac_access_denied_matched_policy[…]`; '' when it was allowed. */
  readonly detail: string;
}

/** Writes what authorization found, but did not decide, into the log, and hands audits on. */
export function reportAuthorization(
  logger: Logger,
  audited: (audit: AuthorizationAudit) => void,
): AuthorizationObserver {
  return {
    audited(facts, { policy, rule }, { allowed, detail }) {
      const audit: AuthorizationAudit = {
        policy: `${policy.namespace}/${policy.name}`,
        rule,
        ...request(facts),
        host: facts.host,
        ...principal(facts),
        allowed,
        detail,
      };
      logger.info({ stream: 'authorization-audit', ...audit }, 'a request matched an AUDIT policy');
      audited(audit);
    },
    shadowed(facts, { action, id, result }) {
      logger.debug({ action, dryRun: true, ...request(facts) }, `shadow ${result}, matched policy ${id}`);
    },
  };
}

function request({ method, path, peer }: AuthorizationFacts): Pick<AuthorizationAudit, 'method' | 'path' | 'peer'> {
  return { method, path, ...(peer === undefined ? {} : { peer: peer.spiffeId }) };
}

function principal({ claims }: AuthorizationFacts): Pick<AuthorizationAudit, 'requestPrincipal'> {
  const { iss, sub } = claims ?? {};
  return typeof iss === 'string' && typeof sub === 'string' ? { requestPrincipal: `${iss}/${sub}` } : {};
}
