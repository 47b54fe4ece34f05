import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import type { Credentials, IdentitySink, IdentitySource } from '../src/identity/source.ts';
import { meshTlsOptions } from '../src/identity/tls-options.ts';
import { expiryGraceMs } from '../src/identity/verify-peer.ts';
import { makeAuthority } from './support/certificates.ts';
import { crlsOf, makeCrl } from './support/crls.ts';
import { fakeClock } from './support/fake-clock.ts';
import { http2Request, http2Session } from './support/http2-client.ts';
import { testInbound } from './support/inbound.ts';
import { strict, testMesh } from './support/mesh-pair.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const orders = 'spiffe://cluster.local/ns/shop/sa/orders';
/** One trust domain in the middle of an exchange of its root. */
const before = makeAuthority({ name: 'the root of before', intermediate: false });
const after = makeAuthority({ name: 'the root of after', intermediate: false });
const rootsOf = (...authorities: (typeof before)[]) =>
  new Map([['cluster.local', authorities.map(({ rootPem }) => rootPem)]]);
const both = rootsOf(before, after);
const onlyAfter = rootsOf(after);

/** A source whose credentials a test changes. */
function changing(first: Credentials): { readonly source: IdentitySource; update(next: Credentials): void } {
  let told: IdentitySink | undefined;
  return {
    source: {
      name: 'test',
      run: async (sink) => {
        told = sink;
        sink.update(first);
      },
    },
    update: (next) => told?.update(next),
  };
}

type Mode = 'refuse' | 'close';

/** A server that trusts both roots, until `narrow` is called. */
async function startServer(t: Test, untrustedConnections: Mode) {
  const own = { ...after.issue(orders), trustBundles: both };
  const identity = changing(own);
  const net = testMesh(t);
  const server = await net.join('orders', { identity: identity.source, untrustedConnections });
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const port = await net.serve(server, (incoming, response) => {
    if (incoming.url === '/slow') ask();
    else response.end('hello');
  });
  return { port, asked, update: (more: Partial<Credentials>) => identity.update({ ...own, ...more }), log: server.log };
}

const client = before.issue(web);
const clientTls = { ...meshTlsOptions({ ...client, trustBundles: both }), checkServerIdentity: () => undefined };

async function ask(port: number, agent: Agent, path = '/'): Promise<number | string> {
  const outgoing = request({ host: '127.0.0.1', port, path, agent });
  outgoing.end();
  const answer = await once(outgoing, 'response').catch((error: Error) => error);
  if (answer instanceof Error) return answer.message;
  const [incoming] = answer as [IncomingMessage];
  incoming.resume();
  await once(incoming, 'end');
  return incoming.statusCode ?? 0;
}

/** What may happen that ends the trust in the client. */
const endings: readonly (readonly [string, Partial<Credentials>])[] = [
  ['its root is taken away', { trustBundles: onlyAfter }],
  ['it is revoked', { crlsByTrustDomain: new Map([['cluster.local', [...revocations(client)]]]) }],
];

function revocations(credentials: Credentials): readonly string[] {
  return [before, after].flatMap((authority) => [
    ...(crlsOf(authority, { leaves: [credentials.certificateChainPem] }).get('cluster.local') ?? []),
  ]);
}

t.test('a client that is no longer trusted', async (t) => {
  for (const [ending, change] of endings) {
    for (const mode of ['refuse', 'close'] as const) {
      t.test(`${ending}, untrustedConnections: ${mode}`, async (t) => {
        const server = await startServer(t, mode);
        const agent = new Agent({ ...clientTls, keepAlive: true });
        t.teardown(() => agent.destroy());
        t.equal(await ask(server.port, agent), 200);
        const [socket] = Object.values(agent.freeSockets).flat();
        const session = http2Session(server.port, { ca: after.rootPem, credentials: client });
        t.teardown(() => session.destroy());
        t.equal((await http2Request(session, { ':path': '/' })).status, 200);
        const busy = tlsConnect({ ...clientTls, host: '127.0.0.1', port: server.port, ALPNProtocols: ['http/1.1'] });
        busy.on('error', () => {});
        t.teardown(() => busy.destroy());
        busy.write('GET /slow HTTP/1.1\r\nhost: orders\r\n\r\n');
        await server.asked;

        const ended = Promise.all([
          once(socket as NonNullable<typeof socket>, 'close'),
          once(session, 'close'),
          once(busy, 'close'),
        ]);
        server.update(change);
        if (mode === 'close') {
          await ended;
          t.pass('SVID-053: all are closed, idle ones and one in the middle of a request, over both versions of HTTP');
          t.match(
            server.log.lines.find(({ message }) => message.startsWith('connections were closed')),
            { fields: { connections: 3 } },
          );
        } else {
          t.equal(await ask(server.port, agent), 403, 'SVID-053: the next request is refused');
          t.equal((await http2Request(session, { ':path': '/' })).status, 403, 'over HTTP/2 as well');
          t.notOk(busy.destroyed, 'what is under way goes on');
        }
        const late = await ask(server.port, new Agent(clientTls));
        t.type(late, 'string', 'SVID-050: a new connection is refused in the handshake, or right after it');
      });
    }
  }
});

t.test('SVID-051: a client whose certificate, or whose revocation list, has run out is closed', async (t) => {
  const authority = makeAuthority({ intermediate: false });
  const clock = fakeClock();
  const nextUpdate = Math.floor((clock.wallNow() + 600_000) / 1_000) * 1_000;
  const lists = new Map([['cluster.local', [makeCrl(authority.root, { nextUpdate })]]]);
  for (const [what, crls, endsAt] of [
    ['certificate', undefined, undefined],
    ['list', lists, nextUpdate],
  ] as const) {
    const inbound = await testInbound((_, response) => response.end('hello'), {
      authority,
      clock,
      closeUntrusted: true,
    });
    if (crls !== undefined) inbound.rotate({ ...authority.issue(orders), crlsByTrustDomain: crls });
    const own = authority.issue(web);
    const agent = new Agent({ ...meshTlsOptions(own), checkServerIdentity: () => undefined, keepAlive: true });
    t.equal(await ask(inbound.port, agent), 200);
    const [socket] = Object.values(agent.freeSockets).flat();
    const ended = once(socket as NonNullable<typeof socket>, 'close');
    const left = (endsAt ?? own.notAfter) - clock.wallNow();
    clock.jump(left + expiryGraceMs);
    clock.advance(1_000);
    t.notOk(socket?.destroyed, `${what}: there is a minute for what is on its way`);
    clock.jump(1);
    clock.advance(1_000);
    await ended;
    agent.destroy();
    await inbound.acceptor.close();
    clock.jump(-left - expiryGraceMs - 1);
  }
});

t.test('a server that is no longer trusted', async (t) => {
  for (const mode of ['refuse', 'close'] as const) {
    t.test(`untrustedConnections: ${mode}`, async (t) => {
      const net = testMesh(t, strict);
      const own = { ...after.issue(web), trustBundles: both };
      const identity = changing(own);
      const caller = await net.join('web', { identity: identity.source, untrustedConnections: mode });
      const called = await net.join('orders', {
        identity: { name: 'test', run: async (sink) => sink.update({ ...before.issue(orders), trustBundles: both }) },
      });
      const sockets = new Set<unknown>();
      const closed: Promise<unknown>[] = [];
      const slow = Promise.withResolvers<() => void>();
      await net.serve(called, (incoming, response) => {
        if (!sockets.has(incoming.socket)) closed.push(once(incoming.socket, 'close'));
        sockets.add(incoming.socket);
        if (incoming.url === '/slow') slow.resolve(() => response.end('slow'));
        else response.end('hello');
      });
      const fetched = async (path: string): Promise<string> => {
        const answer = await caller.fetch(`http://orders${path}`);
        return answer.ok ? answer.text() : `${answer.status} ${answer.headers.get('x-inmesh-error')}`;
      };
      const byAgent = async (): Promise<string> => {
        const outgoing = get('http://orders/', { agent: caller.agent });
        const answer = await once(outgoing, 'response').catch((error: Error) => error.message);
        if (typeof answer === 'string') return answer;
        const [incoming] = answer as [IncomingMessage];
        let text = '';
        for await (const chunk of incoming) text += String(chunk);
        return text;
      };
      const running = fetched('/slow');
      const answer = await slow.promise;
      t.equal(await fetched('/'), 'hello');
      t.equal(await byAgent(), 'hello');
      t.ok(sockets.size >= 3);

      identity.update({ ...own, trustBundles: onlyAfter });
      if (mode === 'close') {
        await Promise.all(closed);
        t.match(await running, /^503 /, 'also the one in the middle of a call');
      } else {
        let next = 'hello';
        for (let i = 0; i < 100 && next === 'hello'; i++) next = await fetched('/');
        t.match(next, /^503 ERR_MESH_(TLS_FAILED|PEER_IDENTITY)/, 'no more calls on open connections');
        answer();
        t.equal(await running, 'slow', 'what is under way finishes');
      }
      t.match(await fetched('/'), /^503 /);
      t.notMatch(await byAgent(), 'hello');
    });
  }
});
