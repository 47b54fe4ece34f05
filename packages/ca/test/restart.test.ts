import { join } from 'node:path';
import { caSource, createIdentityStore, systemClock } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type Authority, createAuthority, initAuthority, openAuthority, serveAuthority } from '../src/index.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

/** A member of an authority that can be ended and begun again on the same port. */
async function member(t: Test, authority: Authority) {
  let server = await serveAuthority(authority);
  const { port, url } = server;
  const logger = recordingLogger();
  const store = createIdentityStore({ clock: systemClock, logger });
  const { token } = authority.createToken({ spiffeId: web, uses: 1_000 });
  const trustRoot = authority.rootPem;
  const abort = new AbortController();
  let troubles = 0;
  const source = caSource({ url, trustRoot, spiffeId: web, token, renewAtShare: 0.2 });
  const { promise: troubled, resolve: onTrouble } = Promise.withResolvers<void>();
  const running = source.run(
    {
      ...store.sink,
      lost: (problem) => {
        store.sink.lost(problem);
        if (++troubles === 5) onTrouble();
      },
    },
    abort.signal,
  );
  t.teardown(async () => {
    abort.abort();
    await running;
    store.close();
    await server.close();
  });
  await store.ready;
  return {
    store,
    logger,
    troubled,
    roots: () => store.current()?.credentials.trustBundles.get('cluster.local') ?? [],
    restart: async (next: Authority) => {
      await server.close();
      server = await serveAuthority(next, { port });
    },
  };
}

t.test(
  'CERT-08: an authority that comes back with another root is not trusted by itself; the mesh goes on until its certificates end',
  async (t) => {
    const run = await member(t, createAuthority({ leafTtlMs: 4_000 }));
    const before = run.roots();
    const replaced = createAuthority({ leafTtlMs: 4_000 });
    await run.restart(replaced);
    await run.troubled;
    t.match(run.store.lastProblem(), { code: 'ERR_MESH_CA', message: /cannot be reached: .*certificate/ });
    t.match(run.logger.messages('warn').join('\n'), /out of reach/, 'loudly');
    t.ok(
      run.roots().length === 0 || run.roots()[0] === before[0],
      'the old root, or no identity once the certificate has ended',
    );
    t.notOk(run.roots().includes(replaced.rootPem));
    t.equal(replaced.status().issued.last.filter(({ subject }) => subject === web).length, 0);
  },
);

t.test('an authority that comes back from its folder goes on where it was', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const authority = initAuthority(dir, { leafTtlMs: 4_000 });
  const run = await member(t, authority);
  const { generation } = run.store.current() ?? { generation: 0 };
  await run.restart(openAuthority(dir));
  const renewed = Promise.withResolvers<void>();
  run.store.subscribe((identity) => {
    if (identity.generation >= generation + 2) renewed.resolve();
  });
  await renewed.promise;
  t.same(run.roots(), [authority.rootPem]);
  t.equal(run.store.lastProblem(), undefined);
});
