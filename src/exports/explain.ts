/**
 * Published as `inmesh/explain`: why a request goes where it goes, and who may do what, without a mesh.
 */
import '../lib/require-node.ts';

export { createExplainer, type ExplainContext, type Explainer } from '../explain/explainer.ts';
export type { RemoteDocument, RemoteDocuments } from '../explain/remote-keys.ts';
export type { ExplainCaller, ExplainProtocol, ExplainRequest, ExplainServer, ExplainTls } from '../explain/request.ts';
export type {
  ExplainedAbort,
  ExplainedCustom,
  ExplainedDestination,
  ExplainedEdits,
  ExplainedFault,
  ExplainedHash,
  ExplainedMirror,
  ExplainedRetries,
  ExplainedShadow,
  ExplainedTls,
  Explanation,
  InboundExplanation,
  OutboundDecision,
  OutboundExplanation,
  PassedOver,
} from '../explain/result.ts';
export { describeExplanation } from '../explain/text.ts';
