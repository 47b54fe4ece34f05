import t from 'tap';
import type { ClientCall, Reply } from '../src/pipeline/client-call.ts';
import type { Service } from '../src/pipeline/filter.ts';
import type { DestinationPlan } from '../src/route/plan.ts';
import type { ClusterState } from '../src/runtime/cluster.ts';
import { Destination } from '../src/select.ts';

t.test('a chain is composed once for each state of a cluster and each of its policies', async (t) => {
  const composed: string[] = [];
  const state = (name: string): ClusterState => ({ name, revision: 0 }) as unknown as ClusterState;
  const compose = (_: Destination, of: ClusterState): Service<ClientCall, Reply> => {
    const { name, revision } = of as ClusterState & { readonly name: string };
    composed.push(`${name} ${revision}`);
    return () => Promise.reject(new Error(name));
  };
  const destination = new Destination({} as DestinationPlan, undefined);
  const [one, other] = [state('one'), state('other')];
  const first = destination.service(one, compose);
  const second = destination.service(other, compose);
  for (let i = 0; i < 3; i++) {
    t.equal(destination.service(one, compose), first);
    t.equal(destination.service(other, compose), second);
  }
  t.same(composed, ['one 0', 'other 0'], 'also when calls take turns');
  one.revision++;
  t.not(destination.service(one, compose), first);
  destination.service(other, compose);
  destination.service(one, compose);
  t.same(composed, ['one 0', 'other 0', 'one 1']);
});
