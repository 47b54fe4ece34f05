// Certificates and roots that are exchanged while calls go on.
import type { RequestListener } from 'node:http';
import type { Credentials } from '../../../src/identity/source.ts';
import { makeAuthority, type TestAuthority } from '../../support/certificates.ts';
import { authorityProcess } from '../authorities.ts';
import type { ChaosCase } from '../case.ts';
import type { Lab } from '../lab.ts';
import { load, pause, type Tally, within } from '../load.ts';
import { type AskingIdentity, askingOf, handed, idOf, member, place, serveAs } from '../members.ts';

/** Remembers with which certificates it was called. */
function noting(seen: Set<string>): RequestListener {
  return (request, response) => {
    seen.add(String(request.headers['x-forwarded-client-cert']));
    response.end('ok');
  };
}

/** Calls until `done`, and at least `least` times. */
async function loadUntil(
  lab: Lab,
  mesh: Parameters<typeof load>[0],
  least: number,
  done: Promise<unknown>,
): Promise<Tally> {
  let over = false;
  void done.then(() => {
    over = true;
  });
  let calls = 0;
  const tally = await load(mesh, {
    count: Number.POSITIVE_INFINITY,
    concurrency: 50,
    judge: () => {
      calls++;
      return undefined;
    },
    enough: () => over && calls >= least,
  });
  lab.check(tally.calls >= least, `calls: ${tally.calls}, ${Math.round(tally.calls / (tally.ms / 1_000))} a second`);
  lab.equal('visible failures', tally.failures === 0 ? 0 : tally.outcomes, 0);
  return tally;
}

async function rotateLeaves(lab: Lab, protocol: 'http' | 'http2'): Promise<void> {
  const authority = makeAuthority();
  const next = (name: string): Credentials => authority.issue(idOf(name));
  const [server, client] = [handed(next('shop')), handed(next('web'))];
  const seen = new Set<string>();
  const shop = member(lab, 'shop', server.source);
  const port = await serveAs(shop, noting(seen));
  const web = member(lab, 'web', client.source, { endpoints: [place(port)], protocol });
  await web.ready(20_000);
  const rounds = lab.count(60, 5, 3);
  const rotating = (async () => {
    for (let i = 0; i < rounds; i++) {
      await pause(lab.count(1_000, 1_000, 30));
      server.sink.update(next('shop'));
      client.sink.update(next('web'));
    }
  })();
  lab.note(`${protocol === 'http' ? 'HTTP/1.1' : 'HTTP/2'}, new certificates on both sides ${rounds} times`);
  await loadUntil(lab, web, lab.count(100_000, 5_000, 300), rotating);
  lab.equal(
    'certificates in use',
    [shop.stats().identity?.generation, web.stats().identity?.generation],
    [rounds + 1, rounds + 1],
  );
  // The old connections are replaced little by little; a call on a new one shows the newest.
  const before = new Set(seen);
  client.sink.update(next('web'));
  const replaced = await within(40_000, () => {
    void web.fetch('http://shop/').then((answer) => answer.text());
    return seen.size > before.size;
  });
  lab.check(replaced, `certificates that the server saw: ${seen.size}`);
  lab.equal(
    'failed handshakes',
    shop.log.messages('warn').filter((text) => /handshake/.test(text)),
    [],
  );
}

/** Waits until what every member got last is so. */
async function allHave(
  lab: Lab,
  members: readonly AskingIdentity[],
  what: string,
  holds: (credentials: Credentials) => boolean,
): Promise<void> {
  const done = await within(60_000, () =>
    members.every(({ got }) => {
      const last = got.at(-1);
      return last !== undefined && holds(last);
    }),
  );
  lab.check(done, what);
}

const rootsOf = ({ trustBundles }: Credentials): readonly string[] => trustBundles.get('cluster.local') ?? [];

export const certRotationCases: readonly ChaosCase[] = [
  {
    id: 'CERT-01',
    fault: 'leaves are exchanged every second under full load, over HTTP/1.1 and HTTP/2',
    expected: 'no call fails, no handshake fails; new connections use the new certificates',
    async run(lab) {
      await rotateLeaves(lab, 'http');
      await rotateLeaves(lab, 'http2');
    },
  },
  {
    id: 'CERT-02',
    fault: 'the root is exchanged in three steps under full load',
    expected: 'no call fails at any step',
    async run(lab) {
      const authority = await authorityProcess(lab, { leafTtlMs: lab.count(6_000, 3_000) });
      const [one, two, web] = await Promise.all(['shop', 'shop', 'web'].map((name) => askingOf(authority, name)));
      if (one === undefined || two === undefined || web === undefined) throw new Error('three were asked for');
      const ports = await Promise.all(
        [one, two].map(({ source }) => serveAs(member(lab, 'shop', source), (_, response) => response.end('ok'))),
      );
      const mesh = member(lab, 'web', web.source, { endpoints: ports.map(place) });
      await mesh.ready(20_000);
      const everybody = [one, two, web];
      const [old = ''] = await authority.roots();
      const steps = async (): Promise<void> => {
        await authority.rotate('prepare');
        await allHave(lab, everybody, 'everybody knows both roots', (last) => rootsOf(last).length === 2);
        const next = (await authority.roots()).find((root) => root !== old) ?? '';
        await authority.rotate('activate');
        const marks = everybody.map(({ got }) => got.length);
        await within(60_000, () => everybody.every(({ got }, i) => got.length > (marks[i] ?? 0) + 1));
        await authority.rotate('finish');
        await allHave(lab, everybody, 'everybody knows the new root only', (last) => {
          const roots = rootsOf(last);
          return roots.length === 1 && roots[0] === next;
        });
      };
      await loadUntil(lab, mesh, lab.count(100_000, 5_000), steps());
      const updates = everybody.map(({ got }) => got.length);
      lab.note(`certificates meanwhile: ${updates.join(', ')}`);
    },
  },
  {
    id: 'CERT-03',
    fault: 'the root is exchanged without its middle step',
    expected: 'handshakes fail closed, plaintext is no way out; both sides say which root is missing',
    quick: true,
    async run(lab) {
      const old = makeAuthority({ name: 'old root', intermediate: false });
      const next = makeAuthority({ name: 'next root', intermediate: false });
      await skipped(lab, 'the server', next, old);
      await skipped(lab, 'the client', old, next);
    },
  },
];

/** One side has jumped to the new root alone, the other has not. */
async function skipped(
  lab: Lab,
  who: string,
  serverAuthority: TestAuthority,
  clientAuthority: TestAuthority,
): Promise<void> {
  const [serverName, clientName] = [serverAuthority.root.name, clientAuthority.root.name];
  let delivered = 0;
  const shop = member(lab, 'shop', handed(serverAuthority.issue(idOf('shop'))).source);
  const port = await serveAs(shop, (_, response) => {
    delivered++;
    response.end('ok');
  });
  const web = member(lab, 'web', handed(clientAuthority.issue(idOf('web'))).source, { endpoints: [place(port)] });
  await web.ready(20_000);
  const tally = await load(web, { count: lab.count(200, 200, 20) });
  lab.equal(`${who} jumped: outcomes`, Object.keys(tally.outcomes), ['503 ERR_MESH_TLS_FAILED']);
  lab.equal('delivered', delivered, 0);
  const said = (await (await web.fetch('http://shop/')).text()).trim();
  lab.check(said.includes(`CN=${clientName}`) && /issuer|self-signed/.test(said), `the caller says: ${said}`);
  const { handshakesFailed, handshakeFailures } = shop.stats().connections;
  lab.check(handshakesFailed > 0, `the server counts: ${JSON.stringify(handshakeFailures)}`);
  const told = shop.log.lines.find(({ message }) => message === 'a TLS handshake failed');
  const roots = JSON.stringify((told?.fields as { trusted?: readonly string[] } | undefined)?.trusted);
  lab.check(roots.includes(`CN=${serverName}`), `the server says that it trusts ${roots}`);
}
