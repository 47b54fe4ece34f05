import { MeshError } from './errors.ts';
import { createExplainer, type Explainer } from './explain/explainer.ts';
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
 * @param withoutIdentity this process has no identity of its own
 * @param keySourceOf where the keys of tokens come from
 * @param trafficPaths how policies read the paths of requests
 */
export function createLiveExplain(
  workload: Workload,
  current: () => Snapshot | undefined,
  withoutIdentity: boolean,
  keySourceOf: (rule: JwtRule) => KeySource,
  trafficPaths: 'views' | 'literal' = 'views',
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
      explainers.set(
        snapshot,
        (explainer = createExplainer({ snapshot, workload, withoutIdentity, trafficPaths, keysOf })),
      );
    return explainer;
  };
  const withText = <E extends Explanation>(explanation: E): Explained<E> => ({
    ...explanation,
    text: describeExplanation(explanation),
  });
  const explain = (
    request: ExplainRequest & { readonly direction?: 'outbound' | 'inbound' },
  ): Explained<Explanation> | Promise<Explained<Explanation>> => {
    const { direction = 'outbound', ...question } = request;
    const explainer = explainerOf(current());
    return direction === 'outbound'
      ? withText(explainer.outbound(question))
      : explainer.inbound(question).then(withText);
  };
  return explain as Mesh['explain'];
}
