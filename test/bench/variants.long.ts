import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { Agent, setGlobalDispatcher } from 'undici';
import { grpcLoad } from './grpc-load.ts';
import { RawConnection } from './raw-client.ts';
import { rawServer } from './raw-server.ts';
import { readCredentials, startSecureTarget } from './secure.ts';
import { tokenLines } from './tokens.ts';
import { inboundVariants } from './variants/inbound.ts';
import { outboundVariants } from './variants/outbound.ts';
import { secureVariants } from './variants/secure.ts';

t.test('every base is a variant and comes first', async (t) => {
  for (const variants of [outboundVariants, secureVariants, inboundVariants]) {
    const names = variants.map(({ name }) => name);
    t.equal(new Set(names).size, names.length, 'names are different');
    for (const { name, base } of variants)
      t.ok(names.indexOf(base) >= 0 && names.indexOf(base) <= names.indexOf(name), name);
  }
});

t.test('every way of calling calls, and the mesh uses both endpoints', async (t) => {
  const servers = [rawServer(), rawServer()].map((server) => server.listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  t.teardown(() => {
    setGlobalDispatcher(new Agent());
    for (const server of servers) server.close();
  });
  const [first = 0, second = 0] = servers.map((server) => (server.address() as AddressInfo).port);
  let used = 0;
  servers[1]?.on('connection', () => used++);
  for (const { name, ownServers, prepare } of outboundVariants) {
    const before = used;
    // The global fetch uses it, too: undici 8 sets the dispatcher of Node's own copy as well.
    setGlobalDispatcher(new Agent());
    const { call, close } = await prepare([first, second]);
    await Promise.all(Array.from({ length: 20 }, call));
    await close();
    t.equal(used > before, name.startsWith('inmesh') && ownServers !== true, name);
  }
});

t.test('every way of calling over TLS calls', async (t) => {
  const { close: end, ...target } = await startSecureTarget();
  t.teardown(end);
  for (const { name, prepare } of secureVariants) {
    const { call, close } = await prepare(target);
    await Promise.all(Array.from({ length: 5 }, call));
    await call();
    await close();
    t.pass(name);
  }
});

t.test('every way of serving serves', async (t) => {
  for (const { name, serve } of inboundVariants) {
    const { port, close, folder, grpc, tokens } = await serve();
    t.teardown(close);
    if (grpc === true) {
      const load = await grpcLoad(port);
      await load.call();
      load.close();
      t.pass(name);
      continue;
    }
    const secure = folder === undefined ? undefined : clientOptions(folder);
    const lineOf = tokens && tokenLines(tokens);
    const connection = await RawConnection.open(port, '/hello', secure, lineOf);
    await connection.call();
    await connection.call();
    connection.close();
    if (secure !== undefined) {
      t.pass(name);
      continue;
    }
    const [, authorization] = lineOf?.().trim().split(': ') ?? [];
    const headers = { connection: 'close', ...(authorization === undefined ? {} : { authorization }) };
    const response = await fetch(`http://127.0.0.1:${port}/hello`, { headers });
    t.same(await response.json(), { hello: 'world' }, name);
  }
});

function clientOptions(folder: string): ConnectionOptions {
  const { certificateChainPem: cert, privateKeyPem: key, trustBundles } = readCredentials(folder, 'client', 'p256');
  const ca = [...trustBundles.values()].flat();
  return { cert, key, ca, servername: 'bench', ALPNProtocols: ['http/1.1'], checkServerIdentity: () => undefined };
}

t.test('the program prints a table and writes the figures', async (t) => {
  const json = join(t.testdir(), 'deep/bench.json');
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  const short = ['--rounds', '1', '--duration', '400', '--concurrency', '2', '--json', json];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...short, '--only', 'http']);
  t.match(stdout, /outbound, 2 at a time\n.*\n {2}http\.get .*\n {2}inmesh: http\.get through mesh\.agent /);
  t.match(stdout, /inbound, 2 at a time\n.*\n {2}node:http server .*\n {2}inmesh: node:http server /);
  t.equal(stderr, '');
  const { machine, rows, summaries } = JSON.parse(readFileSync(json, 'utf8'));
  t.match(machine, { node: process.version, undici: /^8\./ });
  t.equal(rows.length, 4);
  t.ok(
    summaries.every(({ callsPerSecond, errors }: Record<string, number>) => (callsPerSecond ?? 0) > 0 && errors === 0),
  );

  const bad = promisify(execFile)(process.execPath, [main, ...short, '--only', 'no such thing']);
  await t.rejects(bad, { code: 1, stderr: 'no variant has "no such thing" in its name\n' });
});
