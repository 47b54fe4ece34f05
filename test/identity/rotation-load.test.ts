import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials } from '../../src/identity/source.ts';
import type { ActiveIdentity, IdentityStore } from '../../src/identity/store.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { checkServerSpiffe, peerOfSocket } from '../../src/identity/verify-peer.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { makeAuthority, type TestAuthority } from '../support/certificates.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const api = 'spiffe://cluster.local/ns/shop/sa/api';

const storeWith = (credentials: Credentials): IdentityStore => {
  const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
  store.sink.update(credentials);
  return store;
};
const inForce = (store: IdentityStore): ActiveIdentity => store.current() as ActiveIdentity;

/** A server that answers with who called, and takes every new certificate at once. */
async function startServer(store: IdentityStore) {
  const server = createServer(
    { ...meshTlsOptions(inForce(store).credentials), requestCert: true, rejectUnauthorized: true },
    (incoming, response) => {
      const { trustBundles } = inForce(store).credentials;
      try {
        response.end(peerOfSocket(incoming.socket as TLSSocket, trustBundles, systemClock)?.spiffeId);
      } catch (error) {
        response.writeHead(403).end(String(error));
      }
    },
  );
  store.subscribe(({ credentials }) => server.setSecureContext(meshTlsOptions(credentials)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

/** A client with one pool of connections for each generation; what is running keeps its connection. */
function createClient(store: IdentityStore, port: number) {
  const poolOf = ({ clientContext, credentials }: ActiveIdentity): Agent =>
    new Agent({
      keepAlive: true,
      maxCachedSessions: 0,
      secureContext: clientContext,
      checkServerIdentity: checkServerSpiffe([web], credentials.trustBundles, systemClock),
    });
  let agent = poolOf(inForce(store));
  store.subscribe((identity) => {
    const before = agent;
    agent = poolOf(identity);
    // Idle connections go at once, busy ones when they have answered.
    for (const sockets of Object.values(before.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
    before.on('free', (socket) => socket.destroy());
  });
  return {
    call: async (): Promise<string> => {
      const outgoing = request({ host: '127.0.0.1', port, agent });
      outgoing.end();
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      let text = '';
      for await (const chunk of answer) text += String(chunk);
      return text;
    },
    close: () => agent.destroy(),
  };
}

/** Runs `count` calls, a few at a time, and calls `between` after every `step` of them. */
async function load(
  call: () => Promise<string>,
  count: number,
  step: number,
  between: (round: number) => void,
): Promise<Map<string, number>> {
  const answers = new Map<string, number>();
  let begun = 0;
  const worker = async (): Promise<void> => {
    while (begun < count) {
      if (++begun % step === 0) between(begun / step);
      const answer = await call().catch((error: Error) => `failed: ${error.message}`);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return answers;
}

t.test('leaves change on both sides under load, and no request fails', async (t) => {
  // CERT-01
  const authority = makeAuthority();
  const serverStore = storeWith(authority.issue(web));
  const clientStore = storeWith(authority.issue(api));
  const { server, port } = await startServer(serverStore);
  const client = createClient(clientStore, port);
  const answers = await load(client.call, 1_000, 50, (round) => {
    if (round % 2 === 0) serverStore.sink.update(authority.issue(web));
    else clientStore.sink.update(authority.issue(api));
  });
  t.same([...answers], [[api, 1_000]]);
  t.equal(inForce(serverStore).generation, 11);
  t.equal(inForce(clientStore).generation, 11);
  client.close();
  server.close();
  server.closeAllConnections();
  serverStore.close();
  clientStore.close();
});

t.test('a root is exchanged in three steps under load, and no request fails', async (t) => {
  // CERT-02
  const old = makeAuthority();
  const next = makeAuthority({ name: 'next root' });
  const of = (authority: TestAuthority, id: string, roots: readonly TestAuthority[]): Credentials => ({
    ...authority.issue(id),
    trustBundles: new Map([['cluster.local', roots.map(({ rootPem }) => rootPem)]]),
  });
  const serverStore = storeWith(of(old, web, [old]));
  const clientStore = storeWith(of(old, api, [old]));
  const { server, port } = await startServer(serverStore);
  const client = createClient(clientStore, port);
  const steps: readonly (() => void)[] = [
    () => serverStore.sink.update(of(old, web, [old, next])),
    () => clientStore.sink.update(of(old, api, [old, next])),
    () => serverStore.sink.update(of(next, web, [old, next])),
    () => clientStore.sink.update(of(next, api, [old, next])),
    () => clientStore.sink.update(of(next, api, [next])),
  ];
  const answers = await load(client.call, 600, 100, (round) => steps[round - 1]?.());
  t.same([...answers], [[api, 600]]);
  // The last step, when the old connections are gone.
  serverStore.sink.update(of(next, web, [next]));
  t.same([...(await load(client.call, 50, 100, () => {}))], [[api, 50]]);

  // CERT-03: a client that skipped the steps is left out, and fails closed.
  const late = storeWith(of(old, api, [old]));
  const lateClient = createClient(late, port);
  await t.rejects(lateClient.call());
  lateClient.close();
  client.close();
  server.close();
  server.closeAllConnections();
  for (const store of [serverStore, clientStore, late]) store.close();
});
