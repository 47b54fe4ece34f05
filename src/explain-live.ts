import { MeshError } from './errors.ts';
import { createExplainer, type Explainer } from './explain/explainer.ts';
import type { ExplainRequest } from './explain/request.ts';
import type { Explanation } from './explain/result.ts';
import { describeExplanation } from './explain/text.ts';
import type { Explained, Mesh } from './mesh-api.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { Workload } from './model/workload.ts';

/**
 * `mesh.explain`: explains with the snapshot in force; compiles what it needs once for each.
 *
 * @param withoutIdentity this process has no identity of its own
 */
export function createLiveExplain(
  workload: Workload,
  current: () => Snapshot | undefined,
  withoutIdentity: boolean,
): Mesh['explain'] {
  const explainers = new WeakMap<Snapshot, Explainer>();
  const explainerOf = (snapshot: Snapshot | undefined): Explainer => {
    if (snapshot === undefined) throw new MeshError('ERR_MESH_NOT_READY', 'the mesh has no configuration yet');
    let explainer = explainers.get(snapshot);
    if (explainer === undefined)
      explainers.set(snapshot, (explainer = createExplainer({ snapshot, workload, withoutIdentity })));
    return explainer;
  };
  const explain = (
    request: ExplainRequest & { readonly direction?: 'outbound' | 'inbound' },
  ): Explained<Explanation> => {
    const { direction = 'outbound', ...question } = request;
    const explanation = explainerOf(current())[direction](question);
    return { ...explanation, text: describeExplanation(explanation) };
  };
  return explain as Mesh['explain'];
}
