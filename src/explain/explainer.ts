import { compileEgress } from '../authz/egress.ts';
import { createEgress, type Egress } from '../authz/egress-calls.ts';
import { createTallies } from '../authz/tallies.ts';
import type { KeySource } from '../jwt/keys.ts';
import { systemClock } from '../lib/clock.ts';
import type { JwtRule } from '../model/request-authentication.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import { createHostTable, type HostTable } from '../route/host-table.ts';
import { normalizePath } from '../sanitize/normalize-path.ts';
import { explainInbound } from './inbound.ts';
import { explainOutbound } from './outbound.ts';
import { type RemoteDocuments, remoteKeys } from './remote-keys.ts';
import type { ExplainRequest } from './request.ts';
import type { InboundExplanation, OutboundExplanation } from './result.ts';

/** What explanations are made of. */
export interface ExplainContext {
  readonly snapshot: Snapshot;
  /** The process: caller of outbound requests, server of inbound ones. */
  readonly workload: Workload;
  /**
   * How authorization policies read paths. `views` (default): as requests are decided, where doubt
   * about what a router makes of a path counts against the request. `literal`: the canonical path
   * alone, exactly as Istio.
   */
  readonly paths?: 'views' | 'literal';
  /** How the policies of the process read them. Default `views`. */
  readonly trafficPaths?: 'views' | 'literal';
  /** The process is known to have no identity of its own. Default: it has one. */
  readonly withoutIdentity?: boolean;
  /**
   * Documents by URL: key sets and discovery documents of the issuers of tokens. Answers of extension
   * providers by their name. Nothing is ever fetched; what is not here is not known.
   */
  readonly remote?: RemoteDocuments;
  /** Whether a token without `exp` is accepted, see `MeshOptions`. Default `optional`. */
  readonly tokenExpiry?: 'optional' | 'required';
  /** How many header fields a request may have, see `AcceptorLimits`. Default 100. */
  readonly maxHeaders?: number | undefined;
  /** Where the keys of tokens come from instead. */
  readonly keysOf?: (rule: JwtRule) => KeySource;
}

/** Answers what would happen to requests, and why, without sending anything. */
export interface Explainer {
  outbound(request: ExplainRequest): OutboundExplanation;
  /** Verifies tokens, which takes promises; never rejects because of what a request holds. */
  inbound(request: ExplainRequest): Promise<InboundExplanation>;
}

/** Explains requests under one configuration. Cheap; matchers are compiled on first use. */
export function createExplainer(context: ExplainContext): Explainer {
  const { keysOf, remote = {}, snapshot, withoutIdentity = false } = context;
  const hosts = createHostTable(snapshot);
  const outbound = { snapshot, hosts, withoutIdentity, egress: egressOf(snapshot, hosts) };
  const inbound = {
    ...context,
    remote,
    keysOf: keysOf === undefined ? remoteKeys(remote) : (rule: JwtRule) => ({ source: keysOf(rule) }),
    now: () => systemClock.wallNow(),
  };
  return {
    outbound: (request) => explainOutbound(outbound, request),
    inbound: (request) => explainInbound(inbound, request),
  };
}

function egressOf({ egress, inbound }: Snapshot, hosts: HostTable): Egress | undefined {
  const normalize = (path: string): string | undefined => normalizePath(path, inbound.pathNormalization);
  return egress && createEgress(compileEgress(egress, createTallies()), hosts, normalize);
}
