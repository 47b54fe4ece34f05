import type { Credentials } from 'inmesh/identity';
import t from 'tap';
import { identitySourceSuite } from '../../../test/suites/identity-source.ts';
import { keyPem, makeAuthority, makeKey } from '../../../test/support/certificates.ts';
import { workloadApiSource } from '../src/index.ts';
import { derOf, encodeX509Svids, keyDer } from './support/encode.ts';
import { serveWorkloadApi } from './support/workload-api.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const requestLimitMs = 12_345;

/** An answer with these credentials alone. */
function answerOf(credentials: Credentials, ...roots: readonly string[]): Buffer {
  return encodeX509Svids({
    svids: [
      {
        spiffeId: credentials.spiffeId,
        chain: derOf(credentials.certificateChainPem),
        key: keyDer(credentials.privateKeyPem),
        bundle: derOf(...roots),
      },
    ],
  });
}

identitySourceSuite(t, {
  name: 'Workload API',
  // The limit of a first message, and the time when a renewal should have come: no pauses of back-off.
  isLimit: (delayMs) => delayMs === requestLimitMs || delayMs >= 10_000,
  make: async (_t, clock) => {
    const authority = makeAuthority();
    const api = await serveWorkloadApi();
    let askedBefore = 0;
    let good: Buffer | undefined;
    return {
      source: workloadApiSource({ address: api.address, timeoutMs: requestLimitMs, random: () => 0.5, clock }),
      spiffeId: web,
      issue: async ({ extraRoots = [], notAfter = clock.wallNow() + 3_600_000 } = {}) => {
        good = answerOf(authority.issue(web, { notAfter }), authority.rootPem, ...extraRoots);
        api.answer('FetchX509SVID', good);
      },
      mismatch: async () =>
        api.answer(
          'FetchX509SVID',
          answerOf({ ...authority.issue(web), privateKeyPem: keyPem(makeKey()) }, authority.rootPem),
        ),
      garble: async () => api.answer('FetchX509SVID', Buffer.from('<html>')),
      cutOff: () => api.stop(),
      reconnect: () => api.start(),
      hang: async () => {
        askedBefore = api.calls.length;
        api.answer('FetchX509SVID', 'hang');
      },
      asked: () => api.calls.length > askedBefore,
      connections: api.open,
      close: api.close,
    };
  },
});

t.test('an answer without the identity that is meant takes away trust all the same', async (t) => {
  const [authority, partner] = [makeAuthority(), makeAuthority({ trustDomain: 'partner.example' })];
  const svid = (spiffeId: string) => {
    const { certificateChainPem, privateKeyPem } = authority.issue(spiffeId);
    const [chain, key] = [derOf(certificateChainPem), keyDer(privateKeyPem)];
    return { spiffeId, chain, key, bundle: derOf(authority.rootPem) };
  };
  const api = await serveWorkloadApi();
  const told: string[] = [];
  const abort = new AbortController();
  const source = workloadApiSource({ address: api.address, spiffeId: web });
  const federated = { 'spiffe://partner.example': derOf(partner.rootPem) };
  api.answer('FetchX509SVID', encodeX509Svids({ svids: [svid(web)], federated }));
  const heard = async (count: number): Promise<void> => {
    while (told.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  const running = source.run(
    {
      update: ({ spiffeId, trustBundles }) => void told.push(`${spiffeId} trusts ${[...trustBundles.keys()]}`),
      reject: ({ message }) => void told.push(message.replace(/^.*: expected/, 'expected')),
      lost: ({ message }) => void told.push(message),
    },
    abort.signal,
  );
  t.teardown(async () => {
    abort.abort();
    await running;
    await api.close();
  });
  await heard(1);
  api.answer('FetchX509SVID', encodeX509Svids({ svids: [svid('spiffe://cluster.local/ns/shop/sa/other')] }));
  await heard(3);
  t.same(told, [
    `${web} trusts cluster.local,partner.example`,
    `${web} trusts cluster.local`,
    `expected an SVID with the ID "${web}", got spiffe://cluster.local/ns/shop/sa/other`,
  ]);
});
