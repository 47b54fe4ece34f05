// What connections begin with where the PROXY protocol is asked for: HAProxy's, both versions.
import { once } from 'node:events';
import { createServer as createHttp2 } from 'node:http2';
import { type AddressInfo, type Socket, connect as tcpConnect } from 'node:net';
import t, { type Test } from 'tap';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { holdProcess, systemClock } from '../../src/lib/clock.ts';

import { openConnection } from '../../src/transport/connector.ts';
import { proxyHeader } from '../../src/transport/proxy-header.ts';
import { shopWeb } from '../support/inbound.ts';
import { modelMesh, ways } from '../support/model-mesh.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { nameAuthority, testFolder, tlsServer } from '../support/tls-server.ts';
import { rawUpstream, turns, until, upstream } from '../support/upstream.ts';

const between = (localAddress: string, remoteAddress: string) => ({
  localAddress,
  localPort: 40_000,
  remoteAddress,
  remotePort: 443,
});

t.test('the header, byte by byte', async (t) => {
  const signature = '0d0a0d0a000d0a515549540a';
  const ports = '9c4001bb';
  const ipv6 = `${'20010db8'.padEnd(30, '0')}01${'0'.repeat(31)}1`;
  const table: readonly (readonly [string, Parameters<typeof proxyHeader>[1], text: string, hex: string])[] = [
    [
      'IPv4',
      between('10.0.0.1', '192.168.1.255'),
      'PROXY TCP4 10.0.0.1 192.168.1.255 40000 443\r\n',
      `2111000c0a000001c0a801ff${ports}`,
    ],
    ['IPv6', between('2001:db8::1', '::1'), 'PROXY TCP6 2001:db8::1 ::1 40000 443\r\n', `21210024${ipv6}${ports}`],
    [
      'IPv4 through a socket for both',
      between('::ffff:10.0.0.1', '::ffff:10.0.0.2'),
      'PROXY TCP4 10.0.0.1 10.0.0.2 40000 443\r\n',
      `2111000c0a0000010a000002${ports}`,
    ],
    [
      'with a zone',
      between('fe80::1%eth0', 'fe80::2%eth0'),
      'PROXY TCP6 fe80::1 fe80::2 40000 443\r\n',
      `21210024${'fe80'.padEnd(31, '0')}1${'fe80'.padEnd(31, '0')}2${ports}`,
    ],
    ['a Unix socket', {} as Socket, 'PROXY UNKNOWN\r\n', '20000000'],
    ['two families', between('10.0.0.1', '::1'), 'PROXY UNKNOWN\r\n', '20000000'],
  ];
  for (const [what, socket, text, hex] of table) {
    t.equal(proxyHeader(1, socket).toString('latin1'), text, what);
    t.equal(proxyHeader(2, socket).toString('hex'), signature + hex, what);
  }
});

/** What a header says, and how long it is; nothing before it is whole. */
function readHeader(bytes: Buffer): { readonly says: string; readonly length: number } | undefined {
  if (bytes[0] !== 0x0d) {
    const end = bytes.indexOf('\r\n');
    return end === -1 ? undefined : { says: bytes.toString('latin1', 0, end), length: end + 2 };
  }
  if (bytes.length < 28) return undefined;
  const [a, b] = [bytes.subarray(16, 20).join('.'), bytes.subarray(20, 24).join('.')];
  const says = `v2 ${bytes.toString('hex', 12, 16)} ${a} ${b} ${bytes.readUInt16BE(24)} ${bytes.readUInt16BE(26)}`;
  return { says, length: 28 };
}

/** Stands before a server, and takes connections that begin with a header; others are closed. */
async function behindHeaders(t: Test, port: number) {
  const headers: string[] = [];
  const front = await rawUpstream(t, (socket) => {
    let seen = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      seen = Buffer.concat([seen, chunk]);
      if (!/^(PROXY|\r\n\r\n)/.test(seen.toString('latin1', 0, 5))) {
        headers.push('none');
        socket.destroy();
        return;
      }
      const header = readHeader(seen);
      if (header === undefined) return;
      socket.off('data', onData);
      const from = `${socket.remotePort} ${socket.localPort}`;
      headers.push(header.says.replace(from, 'from to'));
      const inner = tcpConnect({ host: '127.0.0.1', port }).on('error', () => {});
      inner.write(seen.subarray(header.length));
      socket.pipe(inner).pipe(socket);
      socket.on('close', () => inner.destroy());
    };
    socket.on('data', onData);
  });
  return { headers, port: front.port };
}

const said = { 1: 'PROXY TCP4 127.0.0.1 127.0.0.1 from to', 2: 'v2 2111000c 127.0.0.1 127.0.0.1 from to' } as const;
const authority = nameAuthority();

t.test('every way of calling sends it once for each connection, before TLS', async (t) => {
  const plain = await upstream(t);
  const secure = await tlsServer(t, authority.issue({ dns: 'a' }));
  const rootFile = testFolder(t).write('root.pem', authority.rootPem);
  const simple = { mode: 'simple', subjectAltNames: [], verify: true, rootFile } as const;
  for (const version of [1, 2] as const) {
    for (const [what, port, tls] of [
      ['plaintext', plain.port, 'disable'],
      ['TLS', secure.port, simple],
    ] as const) {
      const front = await behindHeaders(t, port);
      const a = cluster('a', [endpoint(front.port)], { proxyProtocol: version, tls });
      const mesh = await modelMesh(t, snapshot({ a: [route(a.name)] }, [a]));
      for (const [name, way] of Object.entries(ways)) {
        t.match(await way(mesh, 'http://a/'), { status: 200, text: 'ok' }, `${name}, ${what}`);
        await turns(3);
        t.match(await way(mesh, 'http://a/'), { status: 200, text: 'ok' }, `${name}, ${what}, again`);
      }
      t.ok(front.headers.length < 2 * Object.keys(ways).length, 'there are more calls than connections');
      t.same(new Set(front.headers), new Set([said[version]]), what);
    }
  }
});

t.test('the configuration says so in YAML, turns it on and off, and health checks send it, too', async (t) => {
  const server = await upstream(t);
  const front = await behindHeaders(t, server.port);
  const yaml = (policy: string, more = ''): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: tcp, protocol: TCP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${front.port}, tcp: ${front.port}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec: {hosts: [a.test], http: [{retries: {attempts: 0}, route: [{destination: {host: a.test, port: {number: 80}}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec: {host: a.test, trafficPolicy: {${policy}}}
---
${more}`;
  let say = async (_: string): Promise<void> => {};
  const mesh: Mesh = createMesh({
    workload: shopWeb,
    identity: false,
    logger: recordingLogger(),
    config: {
      name: 'test',
      async run(sink, signal) {
        say = (text) => staticSource(text, { workload: shopWeb }).run(sink, signal);
        await say(yaml('proxyProtocol: {}'));
      },
    },
  });
  const release = holdProcess();
  t.teardown(async () => {
    release();
    await mesh.close();
  });
  await mesh.ready();
  t.match(
    mesh.report()?.entries.filter(({ field }) => field.includes('proxyProtocol')),
    [{ status: 'enforced' }],
  );
  const call = async (): Promise<number> => {
    const reply = await mesh.fetch('http://a.test/');
    await reply.text();
    return reply.status;
  };
  t.equal(await call(), 200);
  t.same(front.headers, [said[1]]);
  await say(yaml('proxyProtocol: {version: V2}'));
  t.equal(await call(), 200, 'no connection of before is used');
  t.same(front.headers, [said[1], said[2]]);
  const socket = await mesh.connect({ host: 'a.test', port: 81 });
  await until(() => front.headers.length === 3);
  socket.destroy();
  t.same(front.headers.at(-1), said[2], 'connections of any protocol');
  await say(yaml('loadBalancer: {simple: RANDOM}'));
  t.equal(await call(), 503);
  t.equal(front.headers.at(-1), 'none');
  const checks =
    '{apiVersion: inmesh.dev/v1, kind: HealthCheck, metadata: {name: a, namespace: shop}, spec: {host: a.test, http: {path: /health}}}';
  const before = front.headers.length;
  await say(yaml('proxyProtocol: {version: V1}', checks));
  t.equal(await call(), 200);
  await until(() => server.seen.includes('GET /health'));
  t.same(new Set(front.headers.slice(before)), new Set([said[1]]));
});

t.test('connections of HTTP/2 begin with it, and those to a proxy that is asked for a tunnel, once', async (t) => {
  const server = createHttp2((_, response) => response.end('ok')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const front = await behindHeaders(t, (server.address() as AddressInfo).port);
  const a = cluster('a', [endpoint(front.port)], { proxyProtocol: 2, tls: 'disable', http2: 'always' });
  const proxy = await rawUpstream(t, (socket) => {
    socket.once('data', (head: Buffer) => {
      t.match(head.toString('latin1'), /^CONNECT far\.test:443 HTTP\/1\.1\r\n/);
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.on('data', (chunk) => socket.write(chunk));
    });
  });
  const before = await behindHeaders(t, proxy.port);
  const mesh = await modelMesh(t, snapshot({ a: [route(a.name)] }, [a]));
  t.match(await ways['mesh.fetch']?.(mesh, 'http://a/'), { status: 200, text: 'ok' });
  t.same(front.headers, [said[2]]);
  const plaintext = (): { readonly kind: 'plaintext' } => ({ kind: 'plaintext' });
  const policy = { method: 'CONNECT', targetHost: 'far.test', targetPort: 443 } as const;
  const socket = await new Promise<Socket>((resolve, reject) =>
    openConnection(
      {
        cluster: 'b',
        address: '127.0.0.1',
        port: before.port,
        timeoutMs: 10_000,
        clock: systemClock,
        proxyProtocol: 1,
        tunnel: { policy, security: plaintext },
        security: plaintext,
      },
      (error, made) => (made === null ? reject(error) : resolve(made)),
    ),
  );
  socket.write('inside');
  t.equal(String((await once(socket, 'data'))[0]), 'inside');
  socket.destroy();
  t.same(before.headers, [said[1]]);
});

t.test('addresses that are not resolved get it, too', async (t) => {
  const { port } = await behindHeaders(t, (await upstream(t)).port);
  const a = cluster('localhost', [], { proxyProtocol: 2, tls: 'disable', discovery: { kind: 'original', port } });
  const mesh = await modelMesh(t, snapshot({ localhost: [route(a.name)] }, [a]));
  for (const [name, way] of Object.entries(ways)) {
    t.match(await way(mesh, 'http://localhost/'), { status: 200, text: 'ok' }, name);
  }
});
