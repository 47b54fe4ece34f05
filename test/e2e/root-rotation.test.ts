import t from 'tap';
import { embeddedAuthority } from '../support/embedded-authority.ts';
import { testMesh } from '../support/mesh-pair.ts';
import { exchangeRootUnderLoad } from '../support/root-rotation.ts';

t.test('the root of the embedded authority is exchanged under load, and no request fails', async (t) => {
  // CERT-02
  const { answers, calls, steps } = await exchangeRootUnderLoad(t, { calls: 1_000, every: 100, leafTtlMs: 3_000 });
  t.same(answers, { '200 hello': calls });
  t.same(
    steps.map(([name]) => name),
    ['prepare', 'activate', 'finish', 'done'],
  );
});

/** Calls until the answer is another one. */
async function changed(call: () => Promise<string>, from: string): Promise<string> {
  let answer = from;
  while (answer === from) {
    answer = await call();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return answer;
}

t.test('a revoked identity is cut off, on the connections that it has too, and others are not', async (t) => {
  const { authority, member } = await embeddedAuthority(t, 3_600_000);
  const mesh = testMesh(t);
  const join = (name: string) => mesh.join(name, { identity: member(name).source });
  const [bad, good, server] = [await join('bad'), await join('good'), await join('server')];
  await mesh.serve(server, (_request, response) => response.end('hello'));
  const call = (caller: typeof bad) => async (): Promise<string> =>
    caller.fetch('http://server/').then(
      async (reply) => `${reply.status} ${await reply.text()}`,
      () => 'refused',
    );
  t.equal(await call(bad)(), '200 hello');
  t.equal(await call(good)(), '200 hello');
  authority.revoke({ spiffeId: 'spiffe://cluster.local/ns/shop/sa/bad', reason: 'keyCompromise' });
  t.not(await changed(call(bad), '200 hello'), '200 hello');
  for (let i = 0; i < 20; i++) {
    t.not(await call(bad)(), '200 hello');
    t.equal(await call(good)(), '200 hello');
  }
});

t.test('a root that is taken away by force cuts off whoever has only its certificates', async (t) => {
  // CERT-03: without the steps in between; fails closed, never plaintext.
  const { authority, member } = await embeddedAuthority(t, 3_600_000);
  const mesh = testMesh(t);
  const client = await mesh.join('client', { identity: frozen(member('client')) });
  const { newest, source } = member('server');
  const server = await mesh.join('server', { identity: source });
  await mesh.serve(server, (_request, response) => response.end('hello'));
  const call = (): Promise<string> =>
    client.fetch('http://server/').then(
      async (reply) => `${reply.status} ${await reply.text()}`,
      () => 'refused',
    );
  t.equal(await call(), '200 hello');
  authority.rotation.prepare();
  // Who has not heard of the new root cannot believe an authority that shows nothing else.
  while (newest()?.trustBundles.get('cluster.local')?.length !== 2) await new Promise((next) => setTimeout(next, 10));
  authority.rotation.activate();
  authority.rotation.finish({ force: true });
  t.not(await changed(call, '200 hello'), '200 hello');
  for (let i = 0; i < 20; i++) t.not(await call(), '200 hello');
});

/** A member that takes its first certificate and hears nothing after that. */
function frozen({ source }: ReturnType<Awaited<ReturnType<typeof embeddedAuthority>>['member']>) {
  return {
    name: source.name,
    run: async (sink: Parameters<typeof source.run>[0], signal: AbortSignal) => {
      let first = true;
      await source.run(
        {
          ...sink,
          update: (credentials) => {
            if (first) sink.update(credentials);
            first = false;
          },
        },
        signal,
      );
    },
  };
}
