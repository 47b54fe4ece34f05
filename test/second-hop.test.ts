import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { Route, RouteMatch } from '../src/model/route.ts';
import { modelMesh, type Way, ways } from './support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { upstream } from './support/upstream.ts';

/** A server per subset of one service. */
async function subsets(t: Test, host: string) {
  const servers = await Promise.all(
    ['v1', 'v2'].map((name) => upstream(t, (_incoming, outgoing) => void outgoing.end(`${host} ${name}`))),
  );
  return servers.map(({ port }, i) => cluster(host, [endpoint(port)], { subset: `v${i + 1}` }));
}

/** Serves a request by calling `http://ratings/` without handing on anything. */
async function middle(t: Test, call: Way, routes: readonly Route[], propagateHeaders: readonly string[] = []) {
  const ratings = await subsets(t, 'ratings');
  const mesh = await modelMesh(t, snapshot({ ratings: routes }, ratings), { propagateHeaders });
  const server = createServer((incoming, outgoing) => {
    mesh.handle(incoming, outgoing, () => {
      call(mesh, 'http://ratings/').then(
        ({ text }) => outgoing.end(text),
        (error: unknown) => outgoing.writeHead(500).end(String(error)),
      );
    });
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const canary = (match: RouteMatch): readonly Route[] => [
  route('outbound|80|v2|ratings', { matches: [match] }),
  route('outbound|80|v1|ratings'),
];

for (const [way, call] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('a header decides about the second hop too, without the application', async (t) => {
      const match: RouteMatch = { headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] };
      const port = await middle(t, call, canary(match), ['end-user']);
      const client = await modelMesh(t, snapshot({}, []));
      const ask = async (headers: Record<string, string>) =>
        (await call(client, `http://127.0.0.1:${port}/`, { headers })).text;
      t.equal(await ask({ 'End-User': 'jason' }), 'ratings v2');
      t.equal(await ask({ 'end-user': 'ann' }), 'ratings v1');
      t.equal(await ask({}), 'ratings v1');
    });

    t.test('without the setting it does not: the application has to hand it on', async (t) => {
      const match: RouteMatch = { headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] };
      const port = await middle(t, call, canary(match));
      const client = await modelMesh(t, snapshot({}, []));
      const answer = await call(client, `http://127.0.0.1:${port}/`, { headers: { 'end-user': 'jason' } });
      t.equal(answer.text, 'ratings v1');
    });

    t.test('the choice of a sticky split decides about the second hop', async (t) => {
      const port = await middle(
        t,
        call,
        canary({ baggage: [{ name: 'release', match: { kind: 'exact', value: 'v2' } }] }),
      );
      const reviews = ['v1', 'v2'].map((subset) => cluster('reviews', [endpoint(port)], { subset }));
      const split = route('', {
        sticky: { key: { kind: 'header', name: 'user' }, seed: 's', baggage: 'release' },
        destinations: reviews.map(({ name }) => ({ cluster: name, weight: 50 })),
      });
      const client = await modelMesh(t, snapshot({ reviews: [split] }, reviews));
      const answers = new Set<string>();
      for (let i = 0; i < 12; i++) {
        const user = `user-${i}`;
        const first = (await call(client, 'http://reviews/', { headers: { user } })).text;
        t.equal((await call(client, 'http://reviews/', { headers: { user } })).text, first, user);
        answers.add(first);
      }
      t.same([...answers].sort(), ['ratings v1', 'ratings v2']);
    });
  });
}
