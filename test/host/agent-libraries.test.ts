import axios from 'axios';
import got from 'got';
import superagent from 'superagent';
import t from 'tap';
import { MeshError } from '../../src/errors.ts';
import { fakeMesh, listening } from '../support/agent-router.ts';

/** Answers with method, path, one header and the length of the body; redirects from /old. */
const server = (t: Parameters<typeof listening>[0]): Promise<{ port: number }> =>
  listening(t, (incoming, outgoing) => {
    if (incoming.url === '/old') {
      outgoing.writeHead(302, { location: 'http://reviews:9080/new' }).end();
      return;
    }
    let bytes = 0;
    incoming.on('data', (data) => (bytes += data.length));
    incoming.on('end', () => {
      const { method, url, headers } = incoming;
      outgoing.setHeader('content-type', 'application/json');
      outgoing.end(JSON.stringify({ method, url, user: headers['end-user'], id: headers['x-request-id'], bytes }));
    });
  });

const fromMesh = { headers: ['x-request-id', 'r-1'] };
const unknown = new MeshError('ERR_MESH_NO_ROUTE', 'no route');

t.test('axios', async (t) => {
  const { port } = await server(t);
  const mesh = fakeMesh(t, port, () => fromMesh);
  const client = axios.create({
    adapter: 'http',
    httpAgent: mesh.agent,
    httpsAgent: mesh.agent,
    proxy: false,
    baseURL: 'http://reviews:9080',
    headers: { 'end-user': 'jason' },
  });
  t.same((await client.get('/a?b=c')).data, { method: 'GET', url: '/a?b=c', user: 'jason', id: 'r-1', bytes: 0 });
  t.match((await client.post('/a', 'x'.repeat(300_000))).data, { method: 'POST', bytes: 300_000 });
  t.match((await client.get('/old')).data, { url: '/new' });
  t.equal(mesh.seen.length, 4, 'the redirected leg was routed, too');
  t.ok(mesh.seen.every((request) => request.header('end-user') === 'jason' && request.port === 9080));

  const failing = fakeMesh(t, 1, () => {
    throw unknown;
  });
  const failed = axios.get('http://reviews/', { adapter: 'http', httpAgent: failing.agent, proxy: false });
  const error = await failed.then(
    () => undefined,
    (reason: unknown) => reason as { code: string; cause: unknown },
  );
  t.equal(error?.code, 'ERR_MESH_NO_ROUTE');
  t.equal(error?.cause, unknown);
  const abort = new AbortController();
  const aborted = client.get('/a', { signal: abort.signal });
  abort.abort();
  await t.rejects(aborted, { code: 'ERR_CANCELED' });
});

t.test('got', async (t) => {
  const { port } = await server(t);
  const mesh = fakeMesh(t, port, () => fromMesh);
  const client = got.extend({
    prefixUrl: 'http://reviews:9080',
    agent: { http: mesh.agent, https: mesh.agent },
    headers: { 'end-user': 'jason' },
    retry: { limit: 0 },
  });
  t.same(await client('a?b=c').json(), { method: 'GET', url: '/a?b=c', user: 'jason', id: 'r-1', bytes: 0 });
  t.match(await client.post('a', { body: 'x'.repeat(300_000) }).json(), { method: 'POST', bytes: 300_000 });
  t.match(await client('old').json(), { url: '/new' });
  t.equal(mesh.seen.length, 4);

  const failing = fakeMesh(t, 1, () => {
    throw unknown;
  });
  const error = await client('a', { agent: { http: failing.agent } }).then(
    () => undefined,
    (reason: unknown) => reason as { code: string; cause: unknown },
  );
  t.equal(error?.code, 'ERR_MESH_NO_ROUTE');
});

t.test('superagent', async (t) => {
  const { port } = await server(t);
  const mesh = fakeMesh(t, port, () => fromMesh);
  const client = superagent.agent().set('end-user', 'jason');
  const url = 'http://reviews:9080';
  const first = await client.get(`${url}/a?b=c`).agent(mesh.agent);
  t.same(first.body, { method: 'GET', url: '/a?b=c', user: 'jason', id: 'r-1', bytes: 0 });
  const second = await client.post(`${url}/a`).agent(mesh.agent).send('x'.repeat(300_000));
  t.match(second.body, { method: 'POST', bytes: 300_000 });
  t.match((await client.get(`${url}/old`).agent(mesh.agent)).body, { url: '/new' });
  t.equal(mesh.seen.length, 4);

  const failing = fakeMesh(t, 1, () => {
    throw unknown;
  });
  const failed = Promise.resolve(client.get(`${url}/a`).agent(failing.agent));
  await t.rejects(failed, { code: 'ERR_MESH_NO_ROUTE' });
});
