import type { AuthorizerCalls } from './authorizer-calls.ts';
import type { AuthorizationOptions } from './authz/authorizer.ts';
import { type CustomRules, compileCustom } from './authz/custom.ts';
import { findRbacPolicy, inScope } from './authz/rbac.ts';
import { MeshError } from './errors.ts';
import { type AuthorizerCounts, externalAuthorizationFilter } from './ext-authz/filter.ts';
import { compileHttpChecks } from './ext-authz/http-check.ts';
import type { AuthorizationVerdict, CheckAttributes, ExternalAuthorization } from './ext-authz/service.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { ExternalAuthorizer } from './model/external-authorizer.ts';
import type { InboundPolicy } from './model/inbound.ts';
import { describeProvenance, type Provenance } from './model/provenance.ts';
import type { ExternalCheck } from './model/rbac.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { Filter } from './pipeline/filter.ts';
import type { ServerCall } from './pipeline/server-call.ts';

/** What an external authorizer has been asked and has said so far. */
export interface AuthorizerStatus extends Readonly<AuthorizerCounts> {
  /** Name of the `extensionProviders` entry. */
  readonly name: string;
}

/** What asking needs. */
export interface AuthorizerDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly authorization?: AuthorizationOptions;
  /** Calls of this process. Absent: nobody can be asked. */
  readonly authorizerCalls?: AuthorizerCalls | undefined;
  /** Speaks gRPC with authorizers of that kind. */
  readonly externalAuthorization?: ExternalAuthorization | undefined;
  /** SPIFFE ID of this workload. Default ''. */
  readonly ownPrincipal?: () => string;
}

/** The external authorizers of a process. */
export interface ServerAuthorizers {
  /** What a request passes before tokens and policies; nothing where no CUSTOM policy is. */
  filtersFor(policy: InboundPolicy): readonly Filter<ServerCall, void>[];
  /** What a request passes behind tokens and policies (`last`). */
  lastFiltersFor(policy: InboundPolicy): readonly Filter<ServerCall, void>[];
  status(): readonly AuthorizerStatus[];
}

export function createServerAuthorizers(dependencies: AuthorizerDependencies): ServerAuthorizers {
  const { authorizerCalls: calls, clock, externalAuthorization, logger } = dependencies;
  const counts = new Map<string, AuthorizerCounts>();

  const filterFor = (
    asksFor: AsksFor,
    authorizer: ExternalAuthorizer,
    service: string,
    by: AuthorizerCalls,
  ): Filter<ServerCall, void> => {
    const { name, protocol, timeoutMs } = authorizer;
    let count = counts.get(name);
    if (count === undefined) counts.set(name, (count = { asked: 0, allowed: 0, denied: 0, failed: 0, failedOpen: 0 }));
    const http = protocol.kind === 'http' ? compileHttpChecks(protocol) : undefined;
    const check = async (attributes: CheckAttributes, signal: AbortSignal): Promise<AuthorizationVerdict> => {
      if (http !== undefined) return http.verdict(await by.http(service, http.question(attributes), signal));
      return (externalAuthorization as ExternalAuthorization).check({
        provider: name,
        service,
        attributes,
        unary: (method, message) => by.unary(service, method, message, timeoutMs, signal),
      });
    };
    return externalAuthorizationFilter({
      authorizer,
      asksFor,
      check,
      ownPrincipal: dependencies.ownPrincipal ?? (() => ''),
      clock,
      logger,
      counts: count,
    });
  };

  /** Asks, or refuses what nobody can be asked about. */
  const filterOrRefusal = (
    asksFor: AsksFor,
    authorizer: ExternalAuthorizer | undefined,
    why: string | undefined,
  ): Filter<ServerCall, void> => {
    const service = authorizer?.service;
    if (authorizer === undefined || service === undefined || calls === undefined || why !== undefined) {
      return refusal(asksFor, why ?? 'there is no way to call it');
    }
    return filterFor(asksFor, authorizer, service, calls);
  };
  const checksOf = ({ checks = [] }: InboundPolicy, last: boolean): readonly Filter<ServerCall, void>[] =>
    checks
      .filter((check) => (check.last === true) === last)
      .map((check) =>
        filterOrRefusal(
          asksForCheck(check, dependencies.authorization),
          check.authorizer,
          whyNot(check.authorizer, externalAuthorization),
        ),
      );

  return {
    filtersFor(policy) {
      const { authorizer, rules, why } = plan(policy, dependencies);
      const named = new Set([
        ...(rules?.providers ?? []),
        ...(policy.checks ?? []).map((each) => each.authorizer.name),
      ]);
      for (const name of counts.keys()) if (!named.has(name)) counts.delete(name);
      const own =
        rules === undefined ? [] : [filterOrRefusal((call) => rules.find(call)?.rule.policy, authorizer, why)];
      return [...own, ...checksOf(policy, false)];
    },
    lastFiltersFor: (policy) => checksOf(policy, true),
    status: () => [...counts].map(([name, each]) => ({ name, ...each })),
  };
}

/** The policy for which an authorizer is asked about a request; nothing: it is not asked. */
type AsksFor = (call: ServerCall) => Provenance | undefined;

function asksForCheck({ provenance, scope, when }: ExternalCheck, options: AuthorizationOptions | undefined): AsksFor {
  const isPort = inScope(scope);
  const find = when && findRbacPolicy(when, options);
  return (call) => {
    if (!isPort(call.localPort)) return undefined;
    return find === undefined ? provenance : find(call)?.provenance;
  };
}

/** Who is asked about which requests. */
interface Plan {
  /** Absent: no policy is CUSTOM. */
  readonly rules: CustomRules | undefined;
  readonly authorizer: ExternalAuthorizer | undefined;
  /** Why nobody can be asked. */
  readonly why: string | undefined;
}

function plan(
  { authorization, authorizers = [] }: InboundPolicy,
  {
    authorization: options,
    externalAuthorization,
  }: Pick<AuthorizerDependencies, 'authorization' | 'externalAuthorization'>,
): Plan {
  const named = (provider: string): ExternalAuthorizer | undefined => authorizers.find(({ name }) => name === provider);
  const rules = compileCustom(authorization, (provider) => named(provider) !== undefined, options);
  const authorizer = named(rules?.providers[0] ?? '');
  return { rules, authorizer, why: rules?.problem ?? (authorizer && whyNot(authorizer, externalAuthorization)) };
}

function whyNot(
  { protocol, service }: ExternalAuthorizer,
  externalAuthorization: ExternalAuthorization | undefined,
): string | undefined {
  if (service === undefined) return 'its service is not one that this process can call';
  if (protocol.kind === 'http' || externalAuthorization !== undefined) return undefined;
  return 'it speaks gRPC: give createMesh the option externalAuthorization (see @inmesh/ext-authz)';
}

const reported = new WeakSet<InboundPolicy>();

/** Says when configuration arrives, and not with the first request, that nobody can be asked. */
export function reportAuthorizers(
  { inbound }: Snapshot,
  { externalAuthorization }: { readonly externalAuthorization?: ExternalAuthorization },
  logger: Logger,
): void {
  if (reported.has(inbound)) return;
  reported.add(inbound);
  const { rules, why } = plan(inbound, { externalAuthorization });
  const missing = (inbound.checks ?? []).flatMap(({ authorizer }) => {
    const reason = whyNot(authorizer, externalAuthorization);
    return reason === undefined ? [] : [{ providers: [authorizer.name], why: reason }];
  });
  if (rules !== undefined && why !== undefined) missing.push({ providers: [...rules.providers], why });
  for (const fields of missing) {
    logger.error(fields, 'an external authorizer cannot be asked: what its policies are for is refused');
  }
}

/** Where nobody can be asked, nobody has allowed it: whatever `failOpen` says, as in Istio. */
function refusal(asksFor: AsksFor, why: string): Filter<ServerCall, void> {
  return (call, next) => {
    const policy = asksFor(call);
    if (policy === undefined) return next(call);
    const asks = `${describeProvenance(policy)} asks an external authorizer`;
    throw new MeshError('ERR_MESH_FORBIDDEN', `${call.method} ${call.path}: ${asks}, and nobody can be asked: ${why}`);
  };
}
