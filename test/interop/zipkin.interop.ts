// A real Zipkin gets the trace of three processes, and is asked what it made of it.
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { freePorts } from '../support/free-ports.ts';
import { checkTrace, type StoredSpan } from '../support/trace-shape.ts';
import { runTracesExample } from '../support/traces-example.ts';
import { peerFolder, runOnce, startPeer } from './peers.ts';

const version = '3.6.1';
const address = `https://repo1.maven.org/maven2/io/zipkin/zipkin-server/${version}/zipkin-server-${version}-exec.jar`;

t.test('Zipkin: one trace through three processes, with a retry, by its API', async (t) => {
  const found = peerFolder(`zipkin-${version}`, (folder) =>
    runOnce('curl', ['--fail', '--silent', '--show-error', '--location', '--output', 'zipkin.jar', address], {
      cwd: folder,
    }),
  );
  const noJava = runOnce('java', ['-version'], { cwd: '.' });
  if ('why' in found || noJava !== undefined) {
    t.comment(`skipped, there is no peer here: ${'why' in found ? found.why : noJava}`);
    return;
  }
  const [port = 0] = await freePorts(1);
  const env = { QUERY_PORT: String(port), STORAGE_TYPE: 'mem', SELF_TRACING_ENABLED: 'false' };
  await startPeer(t, 'java', ['-Xmx256m', '-jar', join(found.folder, 'zipkin.jar')], { env, port, attempts: 2_000 });
  const ask = async (path: string): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}/api/v2${path}`)).json();

  t.equal(await runTracesExample(t, port), '200 7 left\n');
  let traces: readonly (readonly StoredSpan[])[] = [];
  for (let i = 0; i < 1_000 && (traces[0]?.length ?? 0) < 8; i++) {
    traces = (await ask('/traces?serviceName=shop&limit=10')) as typeof traces;
    await wait(100);
  }
  t.equal(traces.length, 1);
  checkTrace(t, traces[0] ?? []);
  const services = (await ask('/services')) as readonly string[];
  t.same([...services].sort(), ['orders', 'shop', 'stock']);
  const links = (await ask(`/dependencies?endTs=${Date.now() + 60_000}&lookback=3600000`)) as readonly object[];
  t.match(links, [
    { parent: 'shop', child: 'orders', callCount: 1 },
    { parent: 'orders', child: 'stock' },
  ]);
});
