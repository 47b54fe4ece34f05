import t from 'tap';
import { staticSource } from '../src/config/static-source.ts';
import { silentLogger } from '../src/lib/logger.ts';
import { createMesh } from '../src/mesh.ts';
import type { MeshOptions } from '../src/mesh-api.ts';
import { makeAuthority } from './support/certificates.ts';
import { fakeClock } from './support/fake-clock.ts';
import { shopWeb } from './support/inbound.ts';
import { recordingLogger } from './support/recording-logger.ts';
import { rawUpstream, until } from './support/upstream.ts';

const workload = { name: 'web', namespace: 'shop', serviceAccount: 'web' };
const options = { workload, identity: false, logger: silentLogger } as const;
const broken = [
  { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata: { name: 'a' }, spec: { hosts: 1 } },
];

t.test('does not wait for a configuration that was refused and never changes', async (t) => {
  const mesh = createMesh({ ...options, config: staticSource(broken, { workload: shopWeb }) });
  t.teardown(() => mesh.close());
  const problem = { code: 'ERR_MESH_NOT_READY', message: /^not ready: no configuration from static \(.*spec\.hosts/ };
  await t.rejects(mesh.ready(), problem);
  await t.rejects(mesh.ready(60_000), problem, 'long before the time is up');
  await t.rejects(
    mesh.listen((_, response) => response.end()),
    problem,
  );
  t.match(mesh.health(), { ready: false, reasons: [/no configuration from static/] });
});

t.test('a source that throws is one that is out of reach', async (t) => {
  const logger = recordingLogger();
  const fail = (async () => {
    throw new Error('a bug');
  }) as () => Promise<void>;
  const authority = makeAuthority();
  const cases: readonly (readonly [MeshOptions, RegExp])[] = [
    [{ config: { name: 'mine', run: fail } }, /no configuration from mine \(a bug\)/],
    [
      {
        config: {
          name: 'mine',
          run: () => {
            throw new Error('a bug');
          },
        },
      },
      /no configuration from mine \(a bug\)/,
    ],
    [{ identity: { name: 'mine', run: fail } }, /no identity from mine \(a bug\)/],
  ];
  for (const [given, why] of cases) {
    const mesh = createMesh({ ...options, logger, ...given });
    await t.rejects(mesh.ready(10), { code: 'ERR_MESH_NOT_READY', message: why });
    await mesh.close();
  }
  const mesh = createMesh({
    ...options,
    identity: {
      name: 'mine',
      run: async (sink) => {
        sink.update(authority.issue('spiffe://cluster.local/ns/shop/sa/web'));
        throw new Error('a bug');
      },
    },
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  t.match(mesh.health(), { ready: true, warnings: ['identity: a bug'] });
});

t.test('waits for the first answer about keys of tokens, and no longer than that may take', async (t) => {
  const clock = fakeClock();
  const silent = await rawUpstream(t, (socket) => void socket.resume());
  const yaml = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec: {jwtRules: [{issuer: me, jwksUri: "http://127.0.0.1:${silent.port}/jwks"}]}`;
  const mesh = createMesh({ ...options, clock, config: staticSource(yaml, { workload: shopWeb }) });
  t.teardown(() => mesh.close());
  const early = mesh.ready(1_000);
  await until(() => silent.accepted() === 1, 'the question');
  t.match(mesh.health(), { ready: true, warnings: [/^no keys of tokens from http:.*\/jwks: they are refused$/] });
  clock.advance(1_000);
  await t.rejects(early, { message: /^not ready after 1000 ms: no answer yet about keys of tokens from http:/ });
  const late = mesh.ready();
  clock.advance(4_000);
  await late;
  t.match(mesh.health().warnings, [/they are refused \(no complete answer within 5000 ms\)$/]);
});
