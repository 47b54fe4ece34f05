import { once } from 'node:events';
import { get, type IncomingMessage, type RequestListener } from 'node:http';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { request } from 'undici';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { testMesh } from '../support/mesh-pair.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { turns, until, upstream } from '../support/upstream.ts';

const workload = {
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: {},
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};
const serviceOf = (port: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ratings, namespace: shop}
spec:
  hosts: [ratings.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]
`;

/** Requests to `ratings`: what the user `jason` gets, what everybody gets. */
const ratings = (jason: string, everybody = ''): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings, namespace: shop}
spec:
  hosts: [ratings]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    ${jason}
    route: [{destination: {host: ratings}}]
  - route: [{destination: {host: ratings}}]
    ${everybody}
`;
const configured = (mesh: Mesh): Promise<void> => new Promise((resolve) => void mesh.on('config', () => resolve()));
const call = async (mesh: Mesh, headers: Record<string, string> = {}): Promise<string> => {
  const { body, statusCode } = await request('http://ratings/', { dispatcher: mesh.dispatcher, headers });
  return `${statusCode} ${await body.text()}`;
};
const flagsOf = (mesh: Mesh): Readonly<Record<string, number>> =>
  Object.assign({}, ...mesh.stats().requests.map(({ flags }) => flags));

t.test('faults as a VirtualService says them', async (t) => {
  let served = 0;
  const { port } = await upstream(t, (_incoming, outgoing) => {
    served++;
    outgoing.end('stars');
  });
  const clock = fakeClock();
  const meshFor = async (routes: string): Promise<Mesh> => {
    const config = staticSource(`${serviceOf(port)}---${routes}`, { workload });
    const mesh = createMesh({ workload, identity: false, config, clock, logger: recordingLogger() });
    t.teardown(() => mesh.close());
    await mesh.ready();
    return mesh;
  };
  const jason = { 'end-user': 'jason' };

  const aborting = await meshFor(ratings('fault: {abort: {percentage: {value: 100.0}, httpStatus: 500}}'));
  t.equal(await call(aborting, jason), '500 fault filter abort');
  t.equal(await call(aborting), '200 stars');
  t.same([served, flagsOf(aborting)], [1, { FI: 1 }]);
  const outgoing = get('http://ratings/', { agent: aborting.agent, headers: jason });
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  t.same([response.statusCode, await text(response)], [500, 'fault filter abort'], 'the same through mesh.agent');

  const slow = await meshFor(ratings('fault: {delay: {percentage: {value: 100}, fixedDelay: 7s}}\n    timeout: 1s'));
  const delayed = call(slow, jason);
  await clock.advanceAsync(6_999);
  await turns();
  t.equal(served, 1, 'it waits');
  await clock.advanceAsync(1);
  t.equal(await delayed, '200 stars', 'and the timeout does not count that');

  const grpc = await meshFor(ratings('fault: {abort: {percentage: {value: 100}, grpcStatus: UNAVAILABLE}}'));
  const headers = { ...jason, 'content-type': 'application/grpc' };
  const answer = await request('http://ratings/', { dispatcher: grpc.dispatcher, method: 'POST', headers });
  t.match(answer, { statusCode: 200, headers: { 'grpc-status': '14' } });
  await answer.body.dump();
});

t.test('mirrors as a VirtualService says them, over mTLS', async (t) => {
  const shop = testMesh(t);
  const web = await shop.join('web');
  const seen: Record<
    string,
    { readonly host: string | undefined; readonly caller: string | undefined; readonly body: string }[]
  > = {};
  for (const name of ['ratings', 'shadow', 'audit']) {
    const mesh = await shop.join(name);
    const kept: (typeof seen)[string] = [];
    seen[name] = kept;
    const listener: RequestListener = async (incoming, outgoing) => {
      const caller = mesh.scopeOf(incoming)?.peer?.serviceAccount;
      kept.push({ host: incoming.headers.host, caller, body: await text(incoming) });
      outgoing.writeHead(name === 'ratings' ? 200 : 503).end(name);
    };
    await shop.serve(mesh, listener);
  }
  const use = async (yaml: string): Promise<void> => {
    const known = configured(web);
    shop.write('routes.yaml', yaml);
    await known;
  };
  const mirrors = 'mirrors: [{destination: {host: shadow}}, {destination: {host: audit}, percentage: {value: 100}}]';
  await use(ratings(mirrors, 'mirror: {host: shadow}\n    mirrorPercentage: {value: 0}'));
  const answer = await web.fetch('http://ratings/', { method: 'POST', body: 'five', headers: { 'end-user': 'jason' } });
  t.equal(await answer.text(), 'ratings');
  await until(() => seen['shadow']?.length === 1 && seen['audit']?.length === 1);
  const copy = { host: 'ratings-shadow', caller: 'web', body: 'five' };
  t.same(seen, { ratings: [{ ...copy, host: 'ratings' }], shadow: [copy], audit: [copy] });
  t.equal(await call(web), '200 ratings');
  await turns();
  t.equal(seen['shadow']?.length, 1, '0 % is none');
});
