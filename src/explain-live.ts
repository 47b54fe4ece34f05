import { showValue } from './config/problem.ts';
import { MeshError } from './errors.ts';
import { createExplainer, type ExplainContext, type Explainer } from './explain/explainer.ts';
import type { ExplainRequest } from './explain/request.ts';
import type { Explanation } from './explain/result.ts';
import { describeExplanation } from './explain/text.ts';
import type { KeySource } from './jwt/keys.ts';
import type { Explained, Mesh } from './mesh-api.ts';
import type { JwtRule } from './model/request-authentication.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { Workload } from './model/workload.ts';

/**
 * `mesh.explain`: explains with the snapshot in force; compiles what it needs once for each.
 *
 * @param options what the process is known to be
 * @param keySourceOf where the keys of tokens come from
 */
export function createLiveExplain(
  workload: Workload,
  current: () => Snapshot | undefined,
  options: Pick<ExplainContext, 'withoutIdentity' | 'tokenExpiry' | 'trafficPaths' | 'maxHeaders'>,
  keySourceOf: (rule: JwtRule) => KeySource,
): Mesh['explain'] {
  // A question fetches nothing: what this process knows is what it would decide by.
  const keysOf = (rule: JwtRule): KeySource => {
    const source = keySourceOf(rule);
    return { current: () => source.current(), refresh: async () => source.current() };
  };
  const explainers = new WeakMap<Snapshot, Explainer>();
  const explainerOf = (snapshot: Snapshot | undefined): Explainer => {
    if (snapshot === undefined) throw new MeshError('ERR_MESH_NOT_READY', 'the mesh has no configuration yet');
    let explainer = explainers.get(snapshot);
    if (explainer === undefined)
      explainers.set(snapshot, (explainer = createExplainer({ snapshot, workload, ...options, keysOf })));
    return explainer;
  };
  const withText = <E extends Explanation>(explanation: E): Explained<E> => ({
    ...explanation,
    text: describeExplanation(explanation),
  });
  const explain = (
    request: ExplainRequest & { readonly direction?: 'outbound' | 'inbound' },
  ): Explained<Explanation> | Promise<Explained<Explanation>> => {
    const { direction = 'outbound', ...question } = (request as Partial<typeof request> | undefined) ?? {};
    if (direction !== 'outbound' && direction !== 'inbound') {
      const problem = `explain: direction: must be outbound or inbound, got ${showValue(direction)}`;
      throw new MeshError('ERR_MESH_OPTION_INVALID', problem);
    }
    const explainer = explainerOf(current());
    return direction === 'outbound'
      ? withText(explainer.outbound(question))
      : explainer.inbound(question).then(withText);
  };
  return explain as Mesh['explain'];
}
