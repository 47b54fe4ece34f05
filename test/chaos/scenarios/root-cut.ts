// A root is taken away: whoever proved themselves with it is cut off.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { Credentials } from '../../../src/identity/source.ts';
import { makeAuthority } from '../../support/certificates.ts';
import type { ChaosCase } from '../case.ts';
import type { Lab } from '../lab.ts';
import { load, pause, within } from '../load.ts';
import { handed, idOf, member, place, serveAs } from '../members.ts';
import { noRetries } from '../resources.ts';

/** An HTTP client that knows nothing of meshes and keeps its one connection. */
function outsider(lab: Lab, own: Credentials, port: number) {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    cert: own.certificateChainPem,
    key: own.privateKeyPem,
    ca: [...own.trustBundles.values()].flat(),
    checkServerIdentity: () => undefined,
  });
  lab.teardown(() => agent.destroy());
  return async (path: string): Promise<string> => {
    const outgoing = request({ host: '127.0.0.1', port, agent, path });
    outgoing.end();
    try {
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      answer.resume();
      await once(answer, 'end');
      return String(answer.statusCode);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    }
  };
}

/** Both ways to treat connections that there are: `refuse` their requests (the default), or `close` them. */
async function cut(lab: Lab, untrustedConnections: 'refuse' | 'close'): Promise<void> {
  const [kept, removed] = [makeAuthority({ name: 'kept' }), makeAuthority({ name: 'removed' })];
  const both = new Map([['cluster.local', [kept.rootPem, removed.rootPem]]]);
  const server = handed({ ...kept.issue(idOf('shop')), trustBundles: both });
  const shop = member(lab, 'shop', server.source, undefined, { untrustedConnections });
  const port = await serveAs(shop, (incoming, response) => {
    if (incoming.url === '/hang') response.writeHead(200).write('…');
    else response.end('ok');
  });
  const good = member(lab, 'web', handed({ ...kept.issue(idOf('web')), trustBundles: both }).source, {
    endpoints: [place(port)],
    retries: noRetries,
  });
  await good.ready(20_000);
  const bad = outsider(lab, { ...removed.issue(idOf('old')), trustBundles: both }, port);
  const hanging = outsider(lab, { ...removed.issue(idOf('old')), trustBundles: both }, port);
  lab.equal(`${untrustedConnections}: before`, await bad('/'), '200');
  const ended: number[] = [];
  const download = hanging('/hang').then(() => ended.push(performance.now()));
  await pause(50);

  const from = performance.now();
  server.sink.update({ ...kept.issue(idOf('shop')), trustBundles: new Map([['cluster.local', [kept.rootPem]]]) });
  let served = 0;
  let refusedAfter = Number.POSITIVE_INFINITY;
  while (performance.now() - from < 5_000) {
    if ((await bad('/')) === '200') served++;
    else {
      refusedAfter = performance.now() - from;
      break;
    }
  }
  lab.equal('requests served on its open connection afterwards', served, 0);
  lab.time('refused after', refusedAfter, 1_000, 5_000);
  lab.equal('on a new connection', /^(200|403)$/.test(await bad('/')), false);
  if (untrustedConnections === 'close') {
    await within(60_000, () => ended.length > 0);
    lab.time(
      'a download on an open connection was cut after',
      (ended[0] ?? Number.POSITIVE_INFINITY) - from,
      1_000,
      5_000,
    );
    await download;
  }
  lab.equal('failures of others', (await load(good, { count: 100 })).failures, 0);
}

export const rootCut: ChaosCase = {
  id: 'ROOT-CUT',
  fault: 'a root is taken out of the trust bundle while its clients are connected',
  expected: 'no request of them is served any more, within a second; their connections are closed when asked',
  quick: true,
  async run(lab) {
    await cut(lab, 'refuse');
    await cut(lab, 'close');
  },
};
