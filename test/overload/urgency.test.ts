import t from 'tap';
import type { PriorityPolicy } from '../../src/model/overload.ts';
import { createUrgency, urgencyOf } from '../../src/overload/urgency.ts';
import type { ServerCall } from '../../src/pipeline/server-call.ts';

t.test('values of the header', async (t) => {
  const cases = [
    [undefined, 3],
    ['', 3],
    ['0', 0],
    ['7', 7],
    ['8', 3],
    ['-1', 3],
    ['x', 3],
    ['u=1', 1],
    ['u=1, i', 1],
    ['i, u=6', 6],
    ['u=2;x=y', 2],
    ['u=9', 3],
    ['u=12', 3],
    ['urgent=1', 3],
    ['i', 3],
  ] as const;
  for (const [value, expected] of cases) t.equal(urgencyOf(value), expected, `${value}`);
});

t.test('whoever is not trusted may be less urgent, and not more', async (t) => {
  const web = 'spiffe://cluster.local/ns/shop/sa/web';
  const call = (priority: string | string[] | undefined, spiffeId?: string): ServerCall =>
    ({ request: { headers: { priority } }, peer: spiffeId === undefined ? undefined : { spiffeId } }) as never;
  const anybody: PriorityPolicy = { header: 'priority' };
  const only: PriorityPolicy = { ...anybody, principals: [{ kind: 'suffix', value: '/sa/web' }] };
  const cases = [
    [anybody, call('u=0', web), 0],
    [anybody, call('u=0'), 3],
    [anybody, call('u=6'), 6],
    [anybody, call(undefined, web), 3],
    [anybody, call(['u=1', 'u=5'], web), 1],
    [only, call('u=0', web), 0],
    [only, call('u=0', 'spiffe://cluster.local/ns/shop/sa/guest'), 3],
    [only, call('u=5', 'spiffe://cluster.local/ns/shop/sa/guest'), 5],
    [{ header: 'x-urgency' }, call('u=0', web), 3],
  ] as const;
  for (const [policy, each, expected] of cases) {
    t.equal(createUrgency(policy)(each), expected, JSON.stringify([policy, each]));
  }
});
