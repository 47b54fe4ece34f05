// What Istio's task "Request Timeouts" shows.
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';
import { until } from '../../support/upstream.ts';

const rules = (timeout?: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stock, namespace: shop}
spec:
  hosts: [stock]
  http:
  - route: [{destination: {host: stock, subset: v1}}]
    retries: {attempts: 0}
    ${timeout === undefined ? '' : `timeout: ${timeout}`}
`;
const hangs = { behaviour: () => true };

t.test('a service that does not answer in time is given up with 504', async (t) => {
  const { ask, takes } = await taskMesh(t, rules('500ms'), hangs);
  const { ms, value } = await takes(ask('http://stock:8000/'), 1_000);
  t.equal(value, '504');
  t.equal(ms, 500);
});

t.test('ten seconds, and a service that answers within', async (t) => {
  const slow = await taskMesh(t, rules('10s'), hangs);
  const { ms, value } = await slow.takes(slow.ask('http://stock:8000/'), 20_000);
  t.equal(value, '504');
  t.equal(ms, 10_000);
  const quick = await taskMesh(t, rules('10s'));
  t.equal(await quick.ask('http://stock:8000/'), 'stock v1');
});

t.test('without a timeout a call waits, for hours if need be', async (t) => {
  const answers: (() => void)[] = [];
  const { ask, clock } = await taskMesh(t, rules(), {
    behaviour: (_request, response, name) => {
      answers.push(() => response.setHeader('x-version', name).end(name));
      return true;
    },
  });
  const answer = ask('http://stock:8000/');
  await until(() => answers.length > 0);
  for (let hours = 0; hours < 24; hours++) clock.advance(3_600_000);
  answers[0]?.();
  t.equal(await answer, 'stock v1');
});
