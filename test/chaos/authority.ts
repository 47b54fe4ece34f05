// A certificate authority in a process of its own that can be killed. Its options are its argument, as
// JSON; its parent sends it `{ call, … }` and gets an answer with the same number.
import { createAuthority, serveAuthority } from '@inmesh/ca';
import { systemClock } from 'inmesh/identity';
import type { AuthorityProcessOptions } from './authorities.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as AuthorityProcessOptions;
const { delayMs = 0, dir, leafTtlMs = 3_600_000, port = 0, skewMs = 0 } = options;
const clock = { ...systemClock, wallNow: () => systemClock.wallNow() + skewMs };

const authority = createAuthority({ leafTtlMs, clock, ...(dir === undefined ? {} : { dir }) });
/** One that takes its time, as one that asks a hardware module may: nothing else happens meanwhile. */
const slow = Object.create(authority, {
  certify: {
    value: (...args: Parameters<typeof authority.certify>) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
      return authority.certify(...args);
    },
  },
}) as typeof authority;

const server = await serveAuthority(delayMs > 0 ? slow : authority, {
  port,
  clock,
  requestsPerSecond: 100_000,
  burst: 100_000,
});

const actions: Readonly<Record<string, (argument: string) => unknown>> = {
  token: (serviceAccount) => authority.createToken({ namespace: 'shop', serviceAccount, uses: 100 }).token,
  prepare: () => authority.rotation.prepare(),
  activate: () => authority.rotation.activate(),
  finish: () => authority.rotation.finish({ force: true }),
  roots: () => authority.trustBundles.get('cluster.local'),
};
process.on('message', ({ argument, call, number }: { argument: string; call: string; number: number }) => {
  process.send?.({ number, result: actions[call]?.(argument) });
});
process.on('disconnect', () => process.exit());
process.send?.({ url: server.url, port: server.port, rootPem: authority.rootPem });
