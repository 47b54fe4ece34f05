import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { status } from '@grpc/grpc-js';
import { causeOf, type MeshError } from 'inmesh';
import t, { type Test } from 'tap';
import { makeAuthority } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import {
  createWorkloadApiClient,
  type WorkloadApiClient,
  type WorkloadApiOptions,
  type X509Context,
} from '../src/index.ts';
import { derOf, encodeJwtBundles, encodeX509Bundles, encodeX509Svids, keyDer } from './support/encode.ts';
import { serveWorkloadApi, type WorkloadApiServer } from './support/workload-api.ts';

const authority = makeAuthority();
const partner = makeAuthority({ trustDomain: 'partner.example' });
const id = (name: string): string => `spiffe://cluster.local/${name}`;

/** An answer with these workloads, in order, and federated trust domains. */
function svids(names: readonly string[], federated: Readonly<Record<string, Uint8Array>> = {}): Buffer {
  return encodeX509Svids({
    svids: names.map((name) => {
      const { certificateChainPem, privateKeyPem } = authority.issue(id(name));
      return {
        spiffeId: id(name),
        chain: derOf(certificateChainPem),
        key: keyDer(privateKeyPem),
        bundle: derOf(authority.rootPem),
      };
    }),
    federated,
  });
}

async function begin(
  t: Test,
  options: WorkloadApiOptions & { readonly tcp?: boolean } = {},
): Promise<{ api: WorkloadApiServer; client: WorkloadApiClient }> {
  const { tcp = false, ...rest } = options;
  const api = await serveWorkloadApi({ tcp });
  const client = createWorkloadApiClient({ address: api.address, ...rest });
  t.teardown(async () => {
    client.close();
    await api.close();
  });
  return { api, client };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Waits until something is so, without waiting for any time. */
async function until(what: string, reached: () => boolean): Promise<void> {
  for (let turns = 0; !reached(); turns++) {
    if (turns > 200_000) throw new Error(`waited in vain: ${what}`);
    await turn();
  }
}

/** A watch with all that it tells: the IDs of an update, or a kind of problem. */
function watching(t: Test, client: WorkloadApiClient) {
  const told: string[] = [];
  const contexts: X509Context[] = [];
  const problems: MeshError[] = [];
  const abort = new AbortController();
  const ended = client
    .watchX509Svids(
      {
        update: (context) => {
          contexts.push(context);
          told.push(context.svids.map(({ spiffeId }) => spiffeId.split('/')[3]).join());
        },
        problem: (error, kind) => {
          problems.push(error);
          told.push(kind);
        },
      },
      abort.signal,
    )
    .then(
      () => 'resolved',
      (error: unknown) => error,
    );
  t.teardown(async () => {
    abort.abort();
    await ended;
  });
  return { told, contexts, problems, ended, abort };
}

/** Moves the clock to each next timer until something is so. */
async function wakeUntil(clock: FakeClock, what: string, reached: () => boolean): Promise<void> {
  await until(what, () => {
    if (reached()) return true;
    clock.advance(50);
    return false;
  });
}

for (const tcp of [false, true]) {
  t.test(`asks once over ${tcp ? 'TCP' : 'a Unix socket'}`, async (t) => {
    const { api, client } = await begin(t, { tcp });
    api.answer('FetchX509SVID', svids(['web', 'job'], { 'spiffe://partner.example': derOf(partner.rootPem) }));
    api.answer('FetchX509Bundles', encodeX509Bundles([['spiffe://cluster.local', derOf(authority.rootPem)]]));
    api.answer('FetchJWTBundles', encodeJwtBundles([['spiffe://cluster.local', '{"keys":[]}']]));
    const context = await client.fetchX509Svids();
    t.same(
      context.svids.map(({ spiffeId }) => spiffeId),
      [id('web'), id('job')],
    );
    t.same([...context.bundles.keys()], ['cluster.local', 'partner.example']);
    t.same([...(await client.fetchX509Bundles()).bundles.keys()], ['cluster.local']);
    t.same([...(await client.fetchJwtBundles()).keys()], ['cluster.local']);
    t.same(api.calls, ['FetchX509SVID', 'FetchX509Bundles', 'FetchJWTBundles']);
    await until('the streams to end', () => api.open() === 0);
  });
}

t.test('the variable says where, when no option does', async (t) => {
  const { api } = await begin(t);
  api.answer('FetchX509SVID', svids(['web']));
  process.env['SPIFFE_ENDPOINT_SOCKET'] = api.address;
  t.teardown(() => delete process.env['SPIFFE_ENDPOINT_SOCKET']);
  const client = createWorkloadApiClient();
  t.equal(client.address, api.address);
  t.equal((await client.fetchX509Svids()).svids.length, 1);
});

t.test('keys never go through a proxy that the environment names', async (t) => {
  const proxied: Socket[] = [];
  const proxy = createServer((socket) => proxied.push(socket.destroy())).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as { port: number };
  for (const name of ['http_proxy', 'grpc_proxy', 'https_proxy']) {
    process.env[name] = `http://127.0.0.1:${port}`;
    t.teardown(() => delete process.env[name]);
  }
  t.teardown(() => proxy.close());
  const { api, client } = await begin(t, { tcp: true });
  api.answer('FetchX509SVID', svids(['web']));
  t.equal((await client.fetchX509Svids()).svids.length, 1);
  t.equal(proxied.length, 0);
});

t.test('a failure has the method, the address and what gRPC says', async (t) => {
  const { api, client } = await begin(t);
  await t.rejects(client.fetchX509Svids(), {
    code: 'ERR_MESH_WORKLOAD_API',
    message: `FetchX509SVID of the Workload API at ${api.address}: PERMISSION_DENIED: no identity issued (has this workload a registration entry, and does it match this process?)`,
    cause: { code: status.PERMISSION_DENIED },
  });
  api.answer('FetchX509SVID', 'end');
  await t.rejects(client.fetchX509Svids(), { message: /OK: the stream ended/ });
  api.answer('FetchX509SVID', Buffer.from('<html>'));
  await t.rejects(client.fetchX509Svids(), { message: /^the Workload API sent an unusable answer: FetchX509SVID: / });
  api.answer('FetchX509SVID', Buffer.alloc(5_000_000));
  await t.rejects(client.fetchX509Svids(), { message: /RESOURCE_EXHAUSTED: .*answers may have 4194304 bytes/ });
  api.answer('FetchX509SVID', { code: status.UNKNOWN, details: 'two\nlines, \u001b[31mred' });
  await t.rejects(client.fetchX509Svids(), { message: /UNKNOWN: two\?lines, \?\[31mred$/ });
  await api.stop();
  await t.rejects(client.fetchX509Svids(), { message: /: UNAVAILABLE: .*connect ENOENT \S+$/ });
});

t.test('nothing waits without a bound, and everything can be given up', async (t) => {
  const clock = fakeClock();
  const { api, client } = await begin(t, { clock, timeoutMs: 5_000 });
  api.answer('FetchX509SVID', 'hang');
  api.answer('FetchJWTSVID', 'hang');
  const asking = [client.fetchX509Svids(), client.fetchJwtSvid({ audience: 'a' })].map((asked: Promise<unknown>) => {
    asked.catch(() => {});
    return asked;
  });
  await until('the questions', () => api.calls.length === 2);
  clock.advance(5_000);
  for (const asked of asking) {
    await t.rejects(asked, { code: 'ERR_MESH_WORKLOAD_API', message: /DEADLINE_EXCEEDED: no answer within 5000 ms/ });
  }
  await until('the calls to end', () => api.open() === 0);

  const reason = new Error('not needed any more');
  t.rejects(client.fetchX509Svids(AbortSignal.abort(reason)), reason);
  for (const ask of [client.fetchX509Svids, (signal: AbortSignal) => client.fetchJwtSvid({ audience: 'a' }, signal)]) {
    const abort = new AbortController();
    const before = api.calls.length;
    const asked: Promise<unknown> = ask(abort.signal);
    asked.catch(() => {});
    await until('the question', () => api.calls.length > before);
    abort.abort(reason);
    await t.rejects(asked, reason);
  }
  const last = client.fetchX509Svids();
  last.catch(() => {});
  client.close();
  await t.rejects(last, { code: 'ERR_MESH_CLOSED' });
  await t.rejects(client.fetchX509Svids(), { code: 'ERR_MESH_CLOSED' });
  await t.rejects(client.watchX509Svids({ update: () => {} }, new AbortController().signal), {
    code: 'ERR_MESH_CLOSED',
  });
  t.equal(clock.pending(), 0, 'no timer stays behind');
  await until('the calls to end', () => api.open() === 0);
});

t.test('each message replaces everything that was there before', async (t) => {
  const { api, client } = await begin(t, { clock: fakeClock() });
  api.answer('FetchX509SVID', svids(['web', 'job'], { 'spiffe://partner.example': derOf(partner.rootPem) }));
  const { contexts, told } = watching(t, client);
  await until('the first', () => told.length === 1);
  const less = svids(['job']);
  api.answer('FetchX509SVID', less);
  await until('the second', () => told.length === 2);
  t.same(told, ['web,job', 'job']);
  t.same([...(contexts[1]?.bundles.keys() ?? [])], ['cluster.local'], 'the federated bundle is taken back');
  api.answer('FetchX509SVID', less);
  api.answer('FetchX509SVID', svids(['web']));
  await until('the third', () => told.length === 3);
  t.same(told, ['web,job', 'job', 'web'], 'the same again is not told');
  t.equal(api.calls.length, 1, 'on one stream');
});

t.test('what cannot be used is told, and the stream goes on', async (t) => {
  const { api, client } = await begin(t, { clock: fakeClock() });
  const first = svids(['web']);
  api.answer('FetchX509SVID', first);
  const { problems, told } = watching(t, client);
  await until('the first', () => told.length === 1);
  api.answer('FetchX509SVID', Buffer.from('<html>'));
  api.answer('FetchX509SVID', Buffer.from('<html>'));
  await until('the problem', () => told.length === 2);
  t.equal(causeOf(problems[0])?.code, 'ERR_MESH_WORKLOAD_API');
  api.answer('FetchX509SVID', first);
  await until('the end of the problem', () => told.length === 3);
  t.same(told, ['web', 'unusable', 'web'], 'told once, and what is in force once more when it is over');
  t.equal(api.calls.length, 1);
});

t.test('a stream that ends is opened again at once, and one that always ends with pauses that grow', async (t) => {
  const clock = fakeClock();
  const { api, client } = await begin(t, { clock, random: () => 1 });
  api.answer('FetchX509SVID', svids(['web']));
  const { told } = watching(t, client);
  await until('the first', () => told.length === 1);
  const between: number[] = [];
  for (let i = 0; i < 6; i++) {
    const [calls, from] = [api.calls.length, clock.now()];
    const last = svids(['web']);
    api.answer('FetchX509SVID', 'end');
    api.answer('FetchX509SVID', last);
    const again = (): boolean => api.calls.length > calls;
    // The clock stands still while we wait for the first one.
    await (i === 0 ? until('the next stream', again) : wakeUntil(clock, 'the next stream', again));
    between.push(clock.now() - from);
    const count = told.length;
    await wakeUntil(clock, 'its message', () => told.length > count || i > 100);
  }
  t.same(
    told.filter((one) => one !== 'web'),
    [],
    'that is no problem',
  );
  t.equal(between[0], 0, `at once: ${between}`);
  t.ok((between[5] ?? 0) > (between[1] ?? 0), `${between}`);
});

t.test('a watch keeps the process alive, also between two tries', async (t) => {
  const clock = fakeClock();
  const kept: boolean[] = [];
  const after: FakeClock['after'] = (ms, action, keepAlive) => {
    if (ms < 1_000) kept.push(keepAlive === true);
    return clock.after(ms, action);
  };
  const { client } = await begin(t, { clock: { ...clock, after }, random: () => 1 });
  watching(t, client);
  await until('the first pause', () => kept.length === 1);
  t.same(kept, [true]);
});

t.test('PERMISSION_DENIED is tried again with pauses that grow, and what is in force stays', async (t) => {
  const clock = fakeClock();
  const { api, client } = await begin(t, { clock, random: () => 1 });
  const { contexts, told } = watching(t, client);
  await until('the refusal', () => told.length === 1);
  const times: number[] = [];
  for (let i = 0; i < 6; i++) {
    const calls = api.calls.length;
    await wakeUntil(clock, 'another try', () => api.calls.length > calls);
    times.push(clock.now());
  }
  const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  t.ok((pauses[2] ?? 0) > (pauses[0] ?? 0), `${pauses}`);
  t.ok(Math.max(...pauses) <= 2_500, `not for long while there is nothing: ${pauses}`);
  t.same(told, ['refused'], 'told once');
  api.answer('FetchX509SVID', svids(['web']));
  await wakeUntil(clock, 'the identity', () => contexts.length === 1);
  api.answer('FetchX509SVID', { code: status.PERMISSION_DENIED, details: 'no identity issued' });
  await wakeUntil(clock, 'the refusal', () => told.length === 3);
  t.same(told, ['refused', 'web', 'refused']);
});

for (const code of [status.INVALID_ARGUMENT, status.UNIMPLEMENTED]) {
  t.test(`${status[code]} is not tried again`, async (t) => {
    const clock = fakeClock();
    const { api, client } = await begin(t, { clock });
    api.answer('FetchX509SVID', { code, details: 'no' });
    const { ended, told } = watching(t, client);
    t.match(await ended, { code: 'ERR_MESH_WORKLOAD_API', message: new RegExp(`${status[code]}: no$`) });
    t.equal(api.calls.length, 1);
    t.same(told, []);
    t.equal(clock.pending(), 0);
  });
}

t.test('a stream that is silent when a renewal is overdue is opened again', async (t) => {
  const clock = fakeClock();
  const { api, client } = await begin(t, { clock });
  api.answer('FetchX509SVID', svids(['web']));
  const { contexts, told } = watching(t, client);
  await until('the first', () => told.length === 1);
  const [svid] = contexts[0]?.svids ?? [];
  const { notAfter = 0, notBefore = 0 } = svid ?? {};
  clock.advance(notAfter - (notAfter - notBefore) / 4 - clock.wallNow() - 10);
  t.equal(api.calls.length, 1, 'not before three quarters of its life are over');
  clock.advance(20);
  await wakeUntil(clock, 'a second stream', () => api.calls.length === 2);
  t.same(told, ['web'], 'and nothing is told of it');
});

t.test('what a handler throws ends its watch', async (t) => {
  const { api, client } = await begin(t);
  api.answer('FetchX509SVID', svids(['web']));
  const mistake = new Error('a mistake of the application');
  const update = (): never => {
    throw mistake;
  };
  await t.rejects(client.watchX509Svids({ update }, new AbortController().signal), mistake);
  await until('the stream to end', () => api.open() === 0);
});

t.test('bundles are followed as SVIDs are', async (t) => {
  const { api, client } = await begin(t, { clock: fakeClock() });
  const abort = new AbortController();
  const x509: string[] = [];
  const jwt: string[] = [];
  const watches = [
    client.watchX509Bundles({ update: ({ bundles }) => x509.push([...bundles.keys()].join()) }, abort.signal),
    client.watchJwtBundles({ update: (bundles) => jwt.push([...bundles.keys()].join()) }, abort.signal),
  ];
  const set = (...domains: readonly string[]): void => {
    api.answer(
      'FetchX509Bundles',
      encodeX509Bundles(domains.map((one) => [`spiffe://${one}`, derOf(authority.rootPem)])),
    );
    api.answer('FetchJWTBundles', encodeJwtBundles(domains.map((one) => [`spiffe://${one}`, '{"keys":[]}'])));
  };
  set('cluster.local', 'partner.example');
  await until('the streams', () => api.calls.length === 2 && x509.length + jwt.length === 2);
  set('cluster.local');
  await until('the changes', () => x509.length + jwt.length === 4);
  t.same(x509, ['cluster.local,partner.example', 'cluster.local']);
  t.same(jwt, x509);
  abort.abort();
  await Promise.all(watches);
});

t.test('options that can never work are refused', async (t) => {
  t.throws(() => createWorkloadApiClient({ address: 'tcp://localhost:1' }), { code: 'ERR_MESH_OPTION_INVALID' });
  for (const timeoutMs of [0, -1, Number.NaN]) {
    t.throws(() => createWorkloadApiClient({ address: 'tcp://127.0.0.1:1', timeoutMs }), { message: /^timeoutMs: / });
  }
  const client = createWorkloadApiClient({ address: 'tcp://127.0.0.1:1' });
  for (const audience of ['', [], ['a', '']]) {
    await t.rejects(client.fetchJwtSvid({ audience }), { code: 'ERR_MESH_OPTION_INVALID', message: /^audience: / });
  }
  await t.rejects(client.fetchJwtSvid({ audience: 'a', spiffeId: 'web' }), { message: /^spiffeId: not a SPIFFE ID/ });
});
