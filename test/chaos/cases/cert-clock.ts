// Clocks that differ or jump, and what a certificate's dates do to connections and files.
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { type FileIdentityOptions, fileIdentitySource } from '../../../src/identity/file-source.ts';
import type { Credentials } from '../../../src/identity/source.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { authorityProcess } from '../authorities.ts';
import type { ChaosCase } from '../case.ts';
import { load, pause, within } from '../load.ts';
import { asking, handed, idOf, member, place, serveAs } from '../members.ts';
import { noRetries } from '../resources.ts';

const minute = 60_000;
const hour = 60 * minute;

/** The real time, until it is moved; timers stay right, as with a correction of the system's clock. */
function movable(): { readonly clock: Clock; move(ms: number): void } {
  let ahead = 0;
  return {
    clock: { ...systemClock, wallNow: () => systemClock.wallNow() + ahead },
    move: (ms) => {
      ahead += ms;
    },
  };
}

/** One request over the agent's connection: status, and whether the server wants to keep the connection. */
async function ask(agent: Agent, port: number): Promise<string> {
  const outgoing: ClientRequest = request({ host: '127.0.0.1', port, agent, path: '/' });
  outgoing.end();
  try {
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    answer.resume();
    await once(answer, 'end');
    return `${answer.statusCode} ${answer.headers.connection ?? ''}`.trim();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

export const certClockCases: readonly ChaosCase[] = [
  {
    id: 'CERT-05',
    fault: "a caller's certificate expires on an open connection",
    expected: 'the request on its way is served and the connection ended; after a minute of grace nothing is served',
    quick: true,
    async run(lab) {
      const authority = makeAuthority();
      const { clock, move } = movable();
      const own = authority.issue(idOf('shop'), { notAfter: Date.now() + 24 * hour });
      const shop = member(lab, 'shop', handed(own).source, undefined, { clock });
      let served = 0;
      const port = await serveAs(shop, (_, response) => {
        served++;
        response.end('ok');
      });
      const caller = authority.issue(idOf('web'), { notAfter: Date.now() + 5_000 });
      const connection = (): Agent =>
        new Agent({
          keepAlive: true,
          maxSockets: 1,
          cert: caller.certificateChainPem,
          key: caller.privateKeyPem,
          ca: authority.rootPem,
          checkServerIdentity: () => undefined,
        });
      const [early, late] = [connection(), connection()];
      lab.teardown(() => {
        early.destroy();
        late.destroy();
      });
      lab.equal(
        'while it is valid',
        [await ask(early, port), await ask(late, port)],
        ['200 keep-alive', '200 keep-alive'],
      );
      // Real for the certificate, moved for the grace.
      move(5_001);
      lab.equal('just expired', await ask(early, port), '200 close');
      move(minute);
      const before = served;
      const refused = await ask(late, port);
      lab.check(/^(403|ECONNRESET|401)/.test(refused), `after the grace: ${refused}`);
      lab.equal('requests served after the grace', served - before, 0);
    },
  },
  {
    id: 'CERT-09',
    fault: 'clocks differ by a minute, and by five',
    expected:
      'certificates begin two minutes in the past: no failure at one minute; beyond that, closed with a clear reason',
    quick: true,
    async run(lab) {
      for (const skewMs of [-minute, minute]) {
        // The clock of the authority differs from that of TLS and of the members.
        const authority = await authorityProcess(lab, { skewMs });
        const asked = async (name: string) =>
          member(
            lab,
            name,
            asking(authority.url, authority.rootPem, await authority.token(name), name).source,
            name === 'web' ? { endpoints: [place(port)] } : undefined,
          );
        let port = 0;
        const shop = await asked('shop');
        port = await serveAs(shop, (_, response) => void response.end('ok'));
        const web = await asked('web');
        await web.ready(20_000);
        const { failures } = await load(web, { count: lab.count(1_000, 200, 40) });
        lab.equal(`failures with an authority ${skewMs / 1_000} s off`, failures, 0);
      }
      for (const skewMs of [-minute, minute]) {
        const authority = await authorityProcess(lab);
        const { clock, move } = movable();
        move(skewMs);
        const identity = (name: string) => async () =>
          asking(authority.url, authority.rootPem, await authority.token(name), name).source;
        const shop = member(lab, 'shop', await identity('shop')());
        const port = await serveAs(shop, (_, response) => void response.end('ok'));
        const web = member(lab, 'web', await identity('web')(), { endpoints: [place(port)] }, { clock });
        await web.ready(20_000);
        const { failures } = await load(web, { count: lab.count(1_000, 200, 40) });
        lab.equal(`failures with a caller ${skewMs / 1_000} s off`, failures, 0);
      }
      const ahead = await authorityProcess(lab, { skewMs: 5 * minute });
      const early = asking(ahead.url, ahead.rootPem, await ahead.token('web'), 'web');
      const waiting = member(lab, 'web', early.source);
      await within(20_000, () => early.failures.length > 0);
      const reason = waiting.health().reasons[0] ?? '';
      lab.check(
        /not yet valid|is valid from/.test(reason),
        `with an authority five minutes ahead: ${reason.slice(0, 200)}`,
      );
      lab.check(!waiting.health().ready, 'it is not ready');

      const authority = makeAuthority();
      const shop = member(lab, 'shop', handed(authority.issue(idOf('shop'))).source);
      const port = await serveAs(shop, (_, response) => void response.end('ok'));
      const { clock, move } = movable();
      const own = authority.issue(idOf('web'), { notBefore: Date.now() - hour });
      const setup = { endpoints: [place(port)], retries: noRetries };
      const behind = member(lab, 'web', handed(own).source, setup, { clock });
      await behind.ready(20_000);
      move(-5 * minute);
      const answer = await behind.fetch('http://shop/');
      const body = await answer.text();
      lab.equal('a caller five minutes behind', answer.headers.get('x-inmesh-error'), 'ERR_MESH_PEER_IDENTITY');
      lab.check(/is valid from .* only, and it is/.test(body), `it says: ${body.slice(0, 200)}`);
    },
  },
  {
    id: 'CERT-10',
    fault: 'the clock of a process jumps an hour back, and an hour ahead',
    expected: 'timers, limits and deadlines go by the monotonic clock: no stall, no burst, no failure',
    quick: true,
    async run(lab) {
      const authority = makeAuthority();
      const long = (name: string): Credentials =>
        authority.issue(idOf(name), { notBefore: Date.now() - 3 * hour, notAfter: Date.now() + 20 * hour });
      const { clock, move } = movable();
      const shop = member(lab, 'shop', handed(long('shop')).source, undefined, { clock });
      const port = await serveAs(shop, (incoming, response) => {
        if (incoming.url === '/slow') setTimeout(() => response.end('late'), 30_000).unref();
        else response.end('ok');
      });
      const setup = { endpoints: [place(port)], retries: noRetries };
      const web = member(lab, 'web', handed(long('web')).source, setup, { clock });
      const hasty = member(lab, 'web', handed(long('web')).source, { ...setup, timeout: '0.3s' }, { clock });
      await Promise.all([web.ready(20_000), hasty.ready(20_000)]);
      for (const jumpMs of [-hour, hour, hour, -hour]) {
        const jumping = (async () => {
          await pause(lab.count(500, 200, 50));
          move(jumpMs);
        })();
        let jumped = false;
        void jumping.then(() => (jumped = true));
        let after = 0;
        const { failures, latencies } = await load(web, {
          count: Number.POSITIVE_INFINITY,
          pauseMs: 1,
          enough: () => jumped && after > lab.count(500, 200, 50),
          judge: () => {
            if (jumped) after++;
            return undefined;
          },
        });
        lab.equal(`failures when it jumps by ${jumpMs / hour} h`, failures, 0);
        lab.time('slowest call', latencies.at(-1) ?? 0, 100, 5_000);
        const from = performance.now();
        const slow = hasty.fetch('http://shop/slow');
        move(-jumpMs);
        lab.equal('a call with a deadline, during a jump', (await slow).status, 504);
        const took = performance.now() - from;
        lab.check(took >= 290, `its deadline of 300 ms after ${Math.round(took)} ms`);
        lab.time('not later', took, 400, 5_000);
        move(jumpMs);
      }
      lab.equal('identity', [web.health().identity?.state, shop.health().identity?.state], ['valid', 'valid']);
    },
  },
  {
    id: 'CERT-11',
    fault: 'files of certificates are written slowly, and cut in the middle of writing',
    expected: 'the last whole ones stay in force: no failed handshake, no root missing for a moment',
    quick: true,
    async run(lab) {
      const authority = makeAuthority();
      const other = makeAuthority({ name: 'another root' });
      const folder = lab.folder();
      const files = ['cert-chain.pem', 'key.pem', 'root-cert.pem'] as const;
      const textOf = (credentials: Credentials, name: (typeof files)[number]): string =>
        name === 'key.pem'
          ? credentials.privateKeyPem
          : name === 'root-cert.pem'
            ? other.rootPem + authority.rootPem
            : credentials.certificateChainPem;
      const put = (name: string, text: string): void => {
        writeFileSync(join(folder, `${name}.new`), text, { mode: 0o600 });
        renameSync(join(folder, `${name}.new`), join(folder, name));
      };
      const first = authority.issue(idOf('shop'));
      for (const name of files) put(name, textOf(first, name));
      const options: FileIdentityOptions = { directory: folder, pollMs: 20 };
      const shop = member(lab, 'shop', fileIdentitySource(options));
      const port = await serveAs(shop, (_, response) => void response.end('ok'));
      // Each call on a connection of its own: each is a handshake.
      const policy = { connectionPool: { http: { maxRequestsPerConnection: 1 } } };
      const setup = { endpoints: [place(port)], retries: noRetries, policy };
      const web = member(lab, 'web', handed(authority.issue(idOf('web'))).source, setup);
      await web.ready(20_000);
      let written = 0;
      const writing = (async () => {
        for (let i = 0; i < lab.count(20, 8, 3); i++) {
          const next = authority.issue(idOf('shop'));
          for (const name of files) {
            const text = textOf(next, name);
            // In place: cut to nothing, then in pieces, one of which ends after the first of two roots.
            for (const part of [0, 0.3, 0.5, 0.8, 1]) {
              const length = name === 'root-cert.pem' && part === 0.5 ? other.rootPem.length : part * text.length;
              writeFileSync(join(folder, name), text.slice(0, Math.round(length)));
              await pause(30);
            }
          }
          written++;
          await within(60_000, () => shop.stats().identity?.generation === written + 1);
        }
      })();
      let over = false;
      void writing.then(() => (over = true));
      const { calls, failures, outcomes } = await load(web, {
        count: Number.POSITIVE_INFINITY,
        concurrency: 4,
        enough: () => over,
      });
      lab.equal(`failures of ${calls} calls`, failures === 0 ? 0 : outcomes, 0);
      lab.equal('certificates that were taken', shop.stats().identity?.generation, written + 1);
      lab.equal('failed handshakes', shop.stats().connections.handshakesFailed, 0);
    },
  },
];
