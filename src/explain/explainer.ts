import type { Snapshot } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import { createHostTable } from '../route/host-table.ts';
import { explainInbound } from './inbound.ts';
import { explainOutbound } from './outbound.ts';
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
  /** The process is known to have no identity of its own. Default: it has one. */
  readonly withoutIdentity?: boolean;
}

/** Answers what would happen to requests, and why, without sending anything. */
export interface Explainer {
  outbound(request: ExplainRequest): OutboundExplanation;
  inbound(request: ExplainRequest): InboundExplanation;
}

/** Explains requests under one configuration. Cheap; matchers are compiled on first use. */
export function createExplainer(context: ExplainContext): Explainer {
  const { snapshot, withoutIdentity = false } = context;
  const outbound = { snapshot, hosts: createHostTable(snapshot), withoutIdentity };
  return {
    outbound: (request) => explainOutbound(outbound, request),
    inbound: (request) => explainInbound(context, request),
  };
}
