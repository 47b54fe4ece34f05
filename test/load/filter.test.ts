import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { testPipeline } from '../support/inbound.ts';

type Answer = { readonly status: number; readonly load: string | undefined };
type Ask = (format?: string, path?: string) => Promise<Answer>;

async function server(t: Test, loadReports?: 'asked' | 'always' | 'never'): Promise<{ ask: Ask; clock: FakeClock }> {
  const clock = fakeClock();
  const { pipeline } = testPipeline(undefined, { clock, ...(loadReports === undefined ? {} : { loadReports }) });
  const application = pipeline.serve((incoming, outgoing) => {
    const seen = [incoming.headers, incoming.headersDistinct, incoming.rawHeaders].map((view) => JSON.stringify(view));
    const leaks = loadReports !== 'never' && seen.some((view) => view.includes('endpoint-load'));
    outgoing.writeHead(leaks ? 400 : incoming.url === '/fail' ? 500 : 200, { 'x-app': '1' });
    outgoing.end('ok');
  });
  const listening = createServer(application);
  await new Promise<void>((resolve) => void listening.listen(0, '127.0.0.1', resolve));
  const { port } = listening.address() as AddressInfo;
  t.teardown(() => {
    listening.close();
    pipeline.close();
  });
  const ask: Ask = (format, path = '/') =>
    new Promise((resolve, reject) => {
      const headers = {
        connection: 'close',
        ...(format === undefined ? {} : { 'endpoint-load-metrics-format': format }),
      };
      const asking = request({ port, host: '127.0.0.1', path, headers }, (response) => {
        const load = response.headers['endpoint-load-metrics'];
        response
          .resume()
          .on('close', () => resolve({ status: response.statusCode ?? 0, load: load as string | undefined }));
      });
      asking.on('error', reject).end();
    });
  return { ask, clock };
}

t.test('who asks is told, from the first second on, and nobody else', async (t) => {
  const { ask, clock } = await server(t);
  t.same(await ask('TEXT'), { status: 200, load: undefined });
  await ask(undefined, '/fail');
  clock.advance(1_000);
  t.match((await ask('TEXT')).load, /^TEXT application_utilization=[\d.]+,rps_fractional=2,eps=1$/);
  t.equal((await ask('TEXT')).status, 200, 'the application does not see the question');
  t.match((await ask('JSON')).load, /^JSON \{"application_utilization":[\d.]+,"rps_fractional":2,"eps":1\}$/);
  t.same(await ask(), { status: 200, load: undefined });
  t.same(await ask('BIN'), { status: 200, load: undefined });
});

t.test('always: everybody is told', async (t) => {
  const { ask, clock } = await server(t, 'always');
  await ask();
  clock.advance(1_000);
  t.match((await ask()).load, /^TEXT /);
});

t.test('never: nobody is told, and nothing is measured', async (t) => {
  const { ask, clock } = await server(t, 'never');
  await ask('TEXT');
  t.equal(clock.pending(), 0);
  clock.advance(1_000);
  t.same(await ask('TEXT'), { status: 200, load: undefined });
});
