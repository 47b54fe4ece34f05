// The certificate authority is down, slow, or somebody else after a restart. It is a process of its own.
import { authorityProcess } from '../authorities.ts';
import type { ChaosCase } from '../case.ts';
import { load, pause, within } from '../load.ts';
import { asking, askingOf, idOf, member, place, serveAs } from '../members.ts';
import { refusingPort } from '../servers.ts';

/** Percent left, of each warning that a certificate was not renewed. */
const warnings = (lines: readonly { readonly fields: object }[]): readonly unknown[] =>
  lines.flatMap(({ fields }) => ('percentLeft' in fields ? [fields.percentLeft] : []));

export const certAuthorityCases: readonly ChaosCase[] = [
  {
    id: 'CERT-04',
    fault: 'the authority is killed, and certificates run out',
    expected:
      'warnings at 50, 25 and 10 % of the life; then not ready, new handshakes fail closed, no request any more',
    quick: true,
    async run(lab) {
      const ttlMs = lab.count(10_000, 6_000, 3_000);
      const authority = await authorityProcess(lab, { leafTtlMs: ttlMs });
      const [server, client] = [await askingOf(authority, 'shop'), await askingOf(authority, 'web')];
      const shop = member(lab, 'shop', server.source);
      let delivered = 0;
      const port = await serveAs(shop, (_, response) => {
        delivered++;
        response.end('ok');
      });
      const web = member(lab, 'web', client.source, { endpoints: [place(port)] });
      await web.ready(20_000);
      lab.equal('failures before', (await load(web, { count: 50 })).failures, 0);
      await authority.kill();
      const expired = await within(ttlMs * 3, () => !web.health().ready && !shop.health().ready);
      lab.check(expired, `not ready: ${web.health().reasons.join('; ')}`);
      for (const [who, log] of [
        ['caller', web.log],
        ['server', shop.log],
      ] as const) {
        const given = warnings(log.lines);
        // Of two that became due while a busy process slept, the last one is given.
        const ok = given.length > 0 && given.join() === [50, 25, 10].filter((left) => given.includes(left)).join();
        lab.check(ok, `warnings of the ${who}, percent left: ${given.join(', ')}`);
      }
      const before = delivered;
      const tally = await load(web, { count: 50 });
      lab.equal('calls afterwards', tally.outcomes, { '503 ERR_MESH_NO_IDENTITY': 50 });
      lab.equal('requests with an expired identity', delivered - before, 0);
    },
  },
  {
    id: 'CERT-06',
    fault: 'there is no authority when a process starts',
    expected: 'it tries again after 50 ms and longer, is not ready, sends nothing; starts within 2 s of the authority',
    quick: true,
    async run(lab) {
      const dir = lab.folder();
      const first = await authorityProcess(lab, { dir });
      const token = await first.token('web');
      const { port, rootPem, url } = first;
      await first.kill();
      const identity = asking(url, rootPem, token, 'web');
      const web = member(lab, 'web', identity.source, { endpoints: [place(await refusingPort())] });
      await within(20_000, () => identity.failures.length >= 7);
      const gaps = identity.failures.slice(1).map((at, i) => at - (identity.failures[i] as number));
      lab.check((gaps[5] ?? 0) > (gaps[0] ?? 0), `pauses between tries, ms: ${gaps.map(Math.round).join(', ')}`);
      lab.check(!web.health().ready, `not ready: ${web.health().reasons.join('; ')}`);
      lab.equal('calls meanwhile', (await load(web, { count: 10 })).outcomes, { '503 ERR_MESH_NO_IDENTITY': 10 });
      await authorityProcess(lab, { dir, port });
      const from = performance.now();
      await web.ready(20_000);
      lab.time('ready after the authority came', performance.now() - from, 2_000, 10_000);
      lab.equal('identity', web.health().identity?.spiffeId, idOf('web'));
    },
  },
  {
    id: 'CERT-07',
    fault: 'the authority takes 10 s for each certificate (less in short runs)',
    expected: 'the start waits; while one is awaited the old certificate serves, and no call fails',
    async run(lab) {
      const delayMs = lab.count(10_000, 2_000);
      const authority = await authorityProcess(lab, { delayMs, leafTtlMs: delayMs * 6 });
      const server = await askingOf(authority, 'shop');
      const client = await askingOf(authority, 'web');
      const from = performance.now();
      const shop = member(lab, 'shop', server.source);
      const port = await serveAs(shop, (_, response) => void response.end('ok'));
      const web = member(lab, 'web', client.source, { endpoints: [place(port)] });
      lab.check(!web.health().ready, 'not ready at once');
      await web.ready(60_000);
      lab.check(performance.now() - from >= delayMs, `ready after ${Math.round(performance.now() - from)} ms`);
      const rotated = (): boolean => server.got.length >= 3 && client.got.length >= 3;
      const tally = await load(web, {
        count: Number.POSITIVE_INFINITY,
        concurrency: 5,
        pauseMs: 1,
        enough: rotated,
      });
      lab.check(rotated(), `certificates: ${server.got.length} and ${client.got.length}, calls: ${tally.calls}`);
      lab.equal('visible failures', tally.failures === 0 ? 0 : tally.outcomes, 0);
    },
  },
  {
    id: 'CERT-08',
    fault: 'the authority lives in memory, is killed, and comes back with another root on the same port',
    expected: 'loud errors; the old roots serve until the leaves expire; nobody is trusted who was not before',
    quick: true,
    async run(lab) {
      const ttlMs = lab.count(10_000, 6_000, 4_000);
      const first = await authorityProcess(lab, { leafTtlMs: ttlMs });
      const [server, client] = [await askingOf(first, 'shop'), await askingOf(first, 'web')];
      const shop = member(lab, 'shop', server.source);
      const port = await serveAs(shop, (_, response) => void response.end('ok'));
      const web = member(lab, 'web', client.source, { endpoints: [place(port)] });
      await web.ready(20_000);
      await first.kill();
      const second = await authorityProcess(lab, { leafTtlMs: 60_000, port: first.port });
      lab.check(second.rootPem !== first.rootPem, 'another root');
      // Somebody new, who knows the new authority only.
      const stranger = member(lab, 'web', (await askingOf(second, 'web')).source, { endpoints: [place(port)] });
      await stranger.ready(20_000);
      const refused = await load(stranger, { count: 10 });
      lab.equal('calls of somebody with the new root', refused.outcomes, { '503 ERR_MESH_TLS_FAILED': 10 });
      const good = await load(web, { count: 100, enough: () => !web.health().ready });
      lab.equal('failures while the old leaves are good', good.failures, 0);
      await within(ttlMs * 3, () => !web.health().ready && !shop.health().ready);
      await pause(50);
      const complaints = web.log.lines.flatMap(({ fields }) => ('error' in fields ? [String(fields.error)] : []));
      lab.check(complaints.length > 0, `it says: ${complaints[0]?.slice(0, 150)}`);
      lab.equal('calls after expiry', (await load(web, { count: 10 })).outcomes, { '503 ERR_MESH_NO_IDENTITY': 10 });
      const trusted = new Set(
        [...server.got, ...client.got].flatMap(({ trustBundles }) => [...trustBundles.values()].flat()),
      );
      lab.equal('roots that were ever trusted', trusted.size, 1);
    },
  },
];
