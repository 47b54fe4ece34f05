import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { request } from 'undici';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import type { PathNormalization } from '../../src/model/inbound.ts';
import { dropAssertions } from '../../src/sanitize/outbound.ts';
import { canonicalTarget } from '../../src/sanitize/outbound-target.ts';
import { shopWeb } from '../support/inbound.ts';
import { recordingLogger } from '../support/recording-logger.ts';

t.test('x-forwarded-client-cert goes, in any spelling and any number; nothing else does', async (t) => {
  const list = ['a', '1', 'X-Forwarded-Client-Cert', 'URI=a', 'x-forwarded-client-cert', ['URI=b'], 'b', '2'];
  t.equal(dropAssertions(list), true);
  t.same(list, ['a', '1', 'b', '2']);
  t.equal(dropAssertions(list), false);
  t.equal(dropAssertions([]), false);
});

t.test('the path of a call in canonical form: nothing else of its target changes', async (t) => {
  const cases: readonly (readonly [mode: PathNormalization, target: string, canonical: string | undefined])[] = [
    ['BASE', '/a', '/a'],
    ['BASE', '/a/./b/../c?x=/../y#z', '/a/c?x=/../y#z'],
    ['BASE', '/x/../admin', '/admin'],
    ['BASE', '/%61dmin?%61', '/admin?%61'],
    ['BASE', '/a\\b', '/a/b'],
    ['BASE', '//a', '//a'],
    ['BASE', '/a%2Fb', '/a%2Fb'],
    ['BASE', '/%zz', '/%zz'],
    ['BASE', '/a%00', undefined],
    ['BASE', '/a?b=%00', '/a?b=%00'],
    ['BASE', '*', '*'],
    ['BASE', 'http://host//a/../b', 'http://host//a/../b'],
    ['BASE', '?a/../b', '?a/../b'],
    ['BASE', '/a#/../b', '/a#/../b'],
    ['MERGE_SLASHES', '//a//b?c//d', '/a/b?c//d'],
    ['DECODE_AND_MERGE_SLASHES', '/a%2F%2Fb', '/a/b'],
    ['NONE', '/a/../b%00', '/a/../b%00'],
  ];
  for (const [mode, target, canonical] of cases) t.equal(canonicalTarget(target, mode), canonical, `${mode} ${target}`);
});

t.test('IDH-015 what an application says of its own callers does not leave it', async (t) => {
  const seen: (string | undefined)[] = [];
  const server = createServer((incoming, outgoing) => {
    const { rawHeaders } = incoming;
    const at = rawHeaders.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === 'x-forwarded-client-cert');
    seen.push(at === -1 ? undefined : rawHeaders[at + 1]);
    outgoing.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const yaml = (more = ''): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]
---
${more}`;
  const release = holdProcess();
  t.teardown(() => {
    release();
    server.closeAllConnections();
    server.close();
  });
  const meshOf = async (text: string) => {
    const config = staticSource(text, { workload: shopWeb });
    const mesh = createMesh({ workload: shopWeb, config, identity: false, logger: recordingLogger() });
    t.teardown(() => mesh.close());
    await mesh.ready();
    return mesh;
  };
  const headers = { 'X-Forwarded-Client-Cert': 'URI=spiffe://x' };
  const mesh = await meshOf(yaml());
  await (await mesh.fetch('http://shop.test/', { headers })).text();
  await (await request('http://shop.test/', { dispatcher: mesh.dispatcher, headers })).body.dump();
  await new Promise<void>((resolve, reject) => {
    get('http://shop.test/', { agent: mesh.agent, headers }, (answer) => answer.resume().on('end', resolve)).on(
      'error',
      reject,
    );
  });
  t.same(seen, [undefined, undefined, undefined], 'fetch, dispatcher, agent');

  const outside = await request(`http://127.0.0.1:${port}/`, { dispatcher: mesh.dispatcher, headers });
  await outside.body.dump();
  t.equal(seen.at(-1), 'URI=spiffe://x', 'calls to hosts outside are not touched');

  const rule = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.test]
  http:
  - headers: {request: {set: {x-forwarded-client-cert: URI=spiffe://operator}}}
    route: [{destination: {host: shop.test}}]
`;
  await (await (await meshOf(yaml(rule))).fetch('http://shop.test/', { headers })).text();
  t.equal(seen.at(-1), 'URI=spiffe://operator', 'a route may say what an application may not');
});
