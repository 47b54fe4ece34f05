import t from 'tap';
import type { Credentials } from '../src/identity/source.ts';
import { requestContext } from '../src/index.ts';
import { makeAuthority } from './support/certificates.ts';
import { crlsOf } from './support/crls.ts';
import { testMesh } from './support/mesh-pair.ts';

const idOf = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;

t.test('connections are replaced for a new certificate and for less trust, and for nothing else', async (t) => {
  const net = testMesh(t);
  const { authority } = net;
  const first = authority.issue(idOf('web'));
  let use = (_credentials: Credentials): void => {};
  const identity = {
    name: 'test',
    run: async (sink: { update(credentials: Credentials): void }) => {
      use = (credentials) => sink.update(credentials);
      use(first);
    },
  };
  const [web, orders] = await Promise.all([net.join('web', { identity, random: () => 0 }), net.join('orders')]);
  await net.serve(orders, (request, response) => {
    response.end(`${requestContext(request).peer?.spiffeId} ${request.socket.remotePort}`);
  });
  const callOften = async (): Promise<readonly string[]> => {
    const answers: string[] = [];
    for (let i = 0; i < 5; i++) {
      answers.push(await (await web.fetch('http://orders/')).text());
      // A connection rests for a turn of the event loop before it is used again.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    return answers;
  };
  const generation = (): number => web.stats().identity?.generation ?? 0;

  const more = new Map([
    ['cluster.local', [authority.rootPem, makeAuthority({ name: 'another root' }).rootPem]],
    ...makeAuthority({ trustDomain: 'partner.example' }).trustBundles,
  ]);
  const other = { ...authority.issue(idOf('web')), trustBundles: more };
  const steps: readonly (readonly [string, Credentials, boolean])[] = [
    ['more roots', { ...first, trustBundles: more }, false],
    ['first lists', { ...first, trustBundles: more, crlsByTrustDomain: crlsOf(authority) }, true],
    ['newer lists', { ...first, trustBundles: more, crlsByTrustDomain: crlsOf(authority) }, false],
    ['no lists', { ...first, trustBundles: more }, false],
    ['less roots', first, true],
    ['a new certificate', { ...other, trustBundles: first.trustBundles }, true],
  ];
  for (const [what, next, replaces] of steps) {
    const before = new Set(await callOften());
    const last = generation();
    use(next);
    t.equal(generation(), last + 1, what);
    // The first of them may go before the timer that replaces what is there.
    const after = (await callOften()).slice(1);
    t.equal(
      after.every((connection) => before.has(connection)),
      !replaces,
      `${what}: ${replaces ? 'replaced' : 'kept'}`,
    );
  }
});
