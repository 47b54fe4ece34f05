import { sign } from 'node:crypto';
import { renameSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import type { MeshError } from '../../src/errors.ts';
import {
  derBitString,
  derElement,
  derOid,
  derSequence,
  derSet,
  derUnsigned,
  derUtf8,
} from '../../src/identity/der-write.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { OriginatedTls } from '../../src/model/cluster.ts';
import { openConnection } from '../../src/transport/connector.ts';
import { createTlsOrigin, type TlsOrigin } from '../../src/transport/originate.ts';
import { type TestSan, toPem } from '../support/certificates.ts';
import { nameAuthority, testFolder, tlsServer } from '../support/tls-server.ts';
import { until } from '../support/upstream.ts';

const authority = nameAuthority();

const simple = (changes: Partial<OriginatedTls> = {}): OriginatedTls => ({
  mode: 'simple',
  subjectAltNames: [],
  verify: true,
  ...changes,
});
const originOf = (tls: OriginatedTls, alpn: readonly string[] = ['http/1.1']): TlsOrigin =>
  createTlsOrigin(tls, { cluster: 'outbound|80||svc.test', host: 'svc.test', alpn });

type Outcome =
  | { readonly socket: TLSSocket; readonly error?: never }
  | { readonly error: MeshError; readonly socket?: never };

/** Connects as calls with this Host header would. */
function connect(t: Test, port: number, origin: TlsOrigin, host = 'svc.test'): Promise<Outcome> {
  return new Promise((resolve) => {
    const target = {
      cluster: 'outbound|80||svc.test',
      address: '127.0.0.1',
      port,
      timeoutMs: 10_000,
      clock: systemClock,
      security: () => origin.security(host),
    };
    openConnection(target, (error, socket) => {
      if (socket === null) resolve({ error: error as MeshError });
      else {
        t.teardown(() => socket.destroy());
        resolve({ socket: socket as TLSSocket });
      }
    });
  });
}

/** A server that asks for nothing, and the file with its root. */
async function setUp(t: Test, sans: readonly TestSan[] = [{ dns: 'svc.test' }], options: object = {}) {
  const folder = testFolder(t);
  const server = await tlsServer(t, authority.issue(...sans), { ALPNProtocols: ['h2', 'http/1.1'], ...options });
  return { ...server, folder, rootFile: folder.write('root.pem', authority.rootPem) };
}

t.test('the host of the request is the SNI, and the name that must be in the certificate', async (t) => {
  const { port, rootFile } = await setUp(t, [{ dns: 'a.test' }, { dns: 'svc.test' }]);
  const origin = originOf(simple({ rootFile }));
  for (const [host, name] of [
    ['svc.test', 'svc.test'],
    ['A.test:8080', 'a.test'],
    ['', 'svc.test'],
  ] as const) {
    const { socket } = await connect(t, port, origin, host);
    t.equal((socket as TLSSocket & { servername: string }).servername, name, host);
    t.equal(socket?.alpnProtocol, 'http/1.1');
    t.ok(socket?.authorized);
  }
  const bytes = await connect(t, port, originOf(simple({ rootFile }), []), '');
  t.equal(bytes.socket?.alpnProtocol, false, 'what is not HTTP is not called HTTP');
  const { error } = await connect(t, port, origin, 'other.test');
  t.match(error, {
    code: 'ERR_MESH_PEER_IDENTITY',
    message: /must be for other\.test, but has DNS:a\.test, DNS:svc\.test/,
    endpoint: `127.0.0.1:${port}`,
    cluster: 'outbound|80||svc.test',
  });
});

t.test('an address is not announced, and its certificate must have it', async (t) => {
  const { port, rootFile } = await setUp(t, [{ ip: [10, 1, 2, 3] }]);
  const origin = originOf(simple({ rootFile }));
  t.match(origin.security('10.1.2.3:80'), { serverName: '', names: ['10.1.2.3'] });
  t.ok((await connect(t, port, origin, '10.1.2.3:80')).socket);
  t.equal((await connect(t, port, origin, '10.1.2.4')).error?.code, 'ERR_MESH_PEER_IDENTITY');
  t.match(origin.security('[::1]:80'), { serverName: '', names: ['::1'] });
});

t.test('a given SNI is announced and demanded, whatever the host is', async (t) => {
  const { port, rootFile } = await setUp(t, [{ dns: 'sni.test' }]);
  const { socket } = await connect(t, port, originOf(simple({ rootFile, serverName: 'sni.test' })), 'host.test');
  t.equal((socket as TLSSocket & { servername: string }).servername, 'sni.test');
  const { error } = await connect(t, port, originOf(simple({ rootFile, serverName: 'other.test' })), 'sni.test');
  t.equal(error?.code, 'ERR_MESH_PEER_IDENTITY', 'stricter than Istio, which looks at the chain only');
});

t.test('given names replace the host: one of them must be there', async (t) => {
  const { port, rootFile } = await setUp(t, [{ dns: 'x.test' }, { uri: 'spiffe://td/a' }]);
  const withNames = (...subjectAltNames: string[]) => originOf(simple({ rootFile, subjectAltNames }));
  t.ok((await connect(t, port, withNames('z.test', 'x.test'))).socket);
  t.ok((await connect(t, port, withNames('spiffe://td/a'))).socket);
  t.equal((await connect(t, port, withNames('svc.test'), 'x.test')).error?.code, 'ERR_MESH_PEER_IDENTITY');
});

t.test('names that are asked for beside the host: both must be there', async (t) => {
  const { port, rootFile } = await setUp(t, [{ dns: 'x.test' }, { uri: 'spiffe://td/a' }]);
  const beside = (name: string) => originOf(simple({ rootFile, subjectAltNames: [name], verifyHost: true }));
  t.ok((await connect(t, port, beside('spiffe://td/a'), 'x.test:80')).socket);
  t.match((await connect(t, port, beside('spiffe://td/a'), 'y.test')).error, {
    code: 'ERR_MESH_PEER_IDENTITY',
    message: /must be for y\.test, but has DNS:x\.test, URI:spiffe:\/\/td\/a/,
  });
  t.match((await connect(t, port, beside('spiffe://td/b'), 'x.test')).error, {
    code: 'ERR_MESH_PEER_IDENTITY',
    message: /must be for spiffe:\/\/td\/b,/,
  });
  t.ok((await connect(t, port, beside('spiffe://td/a'), '')).socket, 'what is not HTTP has no host');
  const any = originOf(simple({ rootFile, subjectAltNames: ['z.test'], verify: false, verifyHost: true }));
  t.ok((await connect(t, port, any, 'y.test')).socket, 'nothing is verified');
});

t.test('without a file of roots those count that Node trusts', async (t) => {
  const { port } = await setUp(t);
  t.match((await connect(t, port, originOf(simple()))).error, { code: 'ERR_MESH_TLS_FAILED', flag: 'UF' });
  const roots = getCACertificates('default');
  t.teardown(() => setDefaultCACertificates(roots));
  setDefaultCACertificates([authority.rootPem]);
  t.ok((await connect(t, port, originOf(simple()))).socket);
});

t.test('a server of another authority is refused, also with the same names', async (t) => {
  const { port, folder } = await setUp(t);
  const rootFile = folder.write('other.pem', nameAuthority().rootPem);
  t.equal((await connect(t, port, originOf(simple({ rootFile })))).error?.code, 'ERR_MESH_TLS_FAILED');
});

t.test('with verification off any server will do', async (t) => {
  const { port } = await setUp(t, [{ dns: 'other.test' }]);
  const { socket } = await connect(t, port, originOf(simple({ verify: false })));
  t.notOk(socket?.authorized);
  t.equal((socket as TLSSocket & { servername: string }).servername, 'svc.test');
});

t.test('NODE_TLS_REJECT_UNAUTHORIZED turns nothing off', async (t) => {
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  const emitWarning = process.emitWarning;
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
    process.emitWarning = emitWarning;
  });
  process.emitWarning = () => {};
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  const { port } = await setUp(t);
  t.equal((await connect(t, port, originOf(simple()))).error?.code, 'ERR_MESH_TLS_FAILED');
});

t.test('files that cannot be used: no connection, and the reason', async (t) => {
  const { port, folder, rootFile, connections } = await setUp(t);
  const missing = join(folder.path, 'missing.pem');
  const empty = folder.write('empty.pem', '');
  const certificateFile = folder.write('cert.pem', authority.issue({ dns: 'me' }).certificate);
  const keyFile = folder.write('key.pem', authority.issue({ dns: 'me' }).key);
  const cases: readonly (readonly [what: string, tls: OriginatedTls, message: RegExp])[] = [
    ['no roots', simple({ rootFile: missing }), /TLS to svc\.test cannot be set up: ENOENT.*missing\.pem/],
    ['empty roots', simple({ rootFile: empty }), /empty\.pem holds no PEM block CERTIFICATE/],
    ['no revocation list', simple({ rootFile, revocationFile: empty }), /holds no PEM block X509 CRL/],
    ['no certificate', simple({ client: { certificateFile: missing, keyFile } }), /ENOENT.*missing\.pem/],
    ['no key', simple({ client: { certificateFile, keyFile: missing } }), /ENOENT.*missing\.pem/],
    ['the key of another', simple({ client: { certificateFile, keyFile } }), /key values mismatch/],
    ['a folder', simple({ rootFile: folder.path }), /EISDIR/],
    ['a secret', simple({ rootFile, unavailable: 'no secrets here' }), /cannot be set up: no secrets here/],
  ];
  for (const [what, tls, message] of cases) {
    const { error } = await connect(t, port, originOf(tls));
    t.match(error, { code: 'ERR_MESH_TLS_FAILED', message, cluster: 'outbound|80||svc.test' }, what);
  }
  t.equal(connections(), 0);
});

t.test('MUTUAL shows a certificate', async (t) => {
  const { port, folder, rootFile } = await setUp(t, undefined, {
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.rootPem,
    maxVersion: 'TLSv1.2',
  });
  const pair = authority.issue({ dns: 'client.test' });
  const client = {
    certificateFile: folder.write('cert.pem', pair.certificate),
    keyFile: folder.write('key.pem', pair.key),
  };
  t.ok((await connect(t, port, originOf(simple({ mode: 'mutual', rootFile, client })))).socket);
  t.equal((await connect(t, port, originOf(simple({ rootFile })))).error?.code, 'ERR_MESH_TLS_FAILED');
});

t.test('files are read again when they have changed; while they are broken the last good ones count', async (t) => {
  const { port, folder, rootFile } = await setUp(t);
  const origin = originOf(simple({ rootFile }));
  const works = async (): Promise<boolean> => (await connect(t, port, origin)).socket !== undefined;
  t.ok(await works());
  folder.write('root.pem', 'half a fi');
  t.ok(await works(), 'broken');
  unlinkSync(rootFile);
  t.ok(await works(), 'gone');
  folder.write('root.pem', nameAuthority().rootPem);
  t.notOk(await works(), 'another root is believed at once');
  // As Kubernetes and cert-manager do it: a new file takes the name.
  renameSync(folder.write('new.pem', authority.rootPem), rootFile);
  t.ok(await works());
});

t.test('a certificate and a key that are written one after the other', async (t) => {
  const seen: (string | undefined)[] = [];
  const folder = testFolder(t);
  const server = await tlsServer(t, authority.issue({ dns: 'svc.test' }), {
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.rootPem,
  });
  const [first, second] = [authority.issue({ dns: 'one.test' }), authority.issue({ dns: 'two.test' })];
  const rootFile = folder.write('root.pem', authority.rootPem);
  const client = {
    certificateFile: folder.write('cert.pem', first.certificate),
    keyFile: folder.write('key.pem', first.key),
  };
  const origin = originOf(simple({ mode: 'mutual', rootFile, client }));
  const who = async (): Promise<void> => {
    const { socket } = await connect(t, server.port, origin);
    socket?.write('GET / HTTP/1.1\r\nhost: svc.test\r\n\r\n');
    const count = seen.length + 1;
    await until(() => server.seen.length === count);
    seen.push(server.seen.at(-1)?.client);
  };
  await who();
  folder.write('cert.pem', second.certificate);
  await who();
  folder.write('key.pem', second.key);
  await who();
  t.same(seen, ['DNS:one.test', 'DNS:one.test', 'DNS:two.test']);
});

t.test('once the first files are there, connections can be made', async (t) => {
  const { port, folder, rootFile } = await setUp(t);
  rmSync(rootFile);
  const origin = originOf(simple({ rootFile }));
  t.equal((await connect(t, port, origin)).error?.code, 'ERR_MESH_TLS_FAILED');
  folder.write('root.pem', authority.rootPem);
  t.ok((await connect(t, port, origin)).socket);
});

/** A revocation list (RFC 5280 section 5) of the test authority, PEM. */
function revocations(...serials: readonly Buffer[]): string {
  const time = (ms: number): Buffer =>
    derElement(
      0x17,
      Buffer.from(
        new Date(ms)
          .toISOString()
          .slice(2)
          .replace(/[-:T]|\.\d+/g, ''),
      ),
    );
  const now = Date.now();
  const algorithm = derSequence(derOid('1.2.840.10045.4.3.2'));
  const issuer = derSequence(derSet(derSequence(derOid('2.5.4.3'), derUtf8(authority.signer.name))));
  const revoked = serials.map((serial) => derSequence(derUnsigned(serial), time(now - 60_000)));
  const list = derSequence(
    derUnsigned(Buffer.from([1])),
    algorithm,
    issuer,
    time(now - 60_000),
    time(now + 3_600_000),
    ...(revoked.length === 0 ? [] : [derSequence(...revoked)]),
  );
  const signature = sign('sha256', list, authority.signer.key);
  return toPem(derSequence(list, algorithm, derBitString(signature)), 'X509 CRL');
}

t.test('a server whose certificate was revoked is refused', async (t) => {
  const folder = testFolder(t);
  const pair = authority.issue({ dns: 'svc.test' });
  const { port } = await tlsServer(t, pair);
  const rootFile = folder.write('root.pem', authority.rootPem);
  const revocationFile = folder.write('crl.pem', revocations(Buffer.from([0x41])));
  const origin = originOf(simple({ rootFile, revocationFile }));
  t.ok((await connect(t, port, origin)).socket);
  folder.write('crl.pem', revocations(Buffer.from([0x41]), pair.serial));
  t.match((await connect(t, port, origin)).error, { code: 'ERR_MESH_TLS_FAILED', message: /revoked/ });
});
