// The catalogue's attacks on TLS and on identities, inbound, for every way to put an application behind the mesh.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { type Socket, connect as tcpConnect } from 'node:net';
import { type ConnectionOptions, type SecureVersion, TLSSocket, connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { parseForwardedClientCert } from '../../src/index.ts';
import { keyPem, makeAuthority, makeCertificate, makeKey, toPem } from '../support/certificates.ts';
import { clientHello, readServerFlight } from '../support/client-hello.ts';
import {
  type Adapter,
  adapters,
  type GuardedServer,
  grpcHead,
  guard,
  type Seen,
  statusOf,
} from '../support/guarded-servers.ts';
import { rawExchange, shopWeb } from '../support/inbound.ts';

interface Client {
  readonly certificate?: string;
  readonly minVersion?: SecureVersion;
  readonly maxVersion?: SecureVersion;
  readonly ciphers?: string;
  readonly alpn?: readonly string[];
  readonly serverName?: string;
  readonly renegotiate?: true;
  readonly plaintext?: true;
  /** Bytes as they are, hexadecimal. */
  readonly bytes?: string;
  /** A ClientHello that no library would send; texts are hexadecimal. */
  readonly hello?: {
    readonly serverName?: string;
    readonly alpn?: readonly string[];
    readonly compression?: readonly number[];
    readonly suites?: readonly number[];
    readonly version?: number;
  };
}

interface Handshake {
  readonly id: string;
  readonly title: string;
  readonly config: string;
  readonly client: Client;
  readonly expected: 'refused' | 'served' | 'served as nobody' | 'alert' | 'hello' | 'bounded';
}

interface HeaderAttack {
  readonly id: string;
  readonly title: string;
  readonly config: string;
  readonly secure: boolean;
  readonly headers: readonly (readonly [string, string])[];
  readonly expected: {
    /** 0: no answer at all. */
    readonly status: number;
    /** Headers that the application must not see. */
    readonly without?: readonly string[];
    /** What must not be left anywhere; a regular expression. */
    readonly hidden?: string;
    readonly clientCert?: 'own' | 'appended';
    readonly peer?: null;
  };
}

const fixture = new URL('../fixtures/mtls-attacks.json', import.meta.url);
const { configs, handshakes, requests } = JSON.parse(readFileSync(fixture, 'utf8')) as {
  readonly configs: Readonly<Record<string, string>>;
  readonly handshakes: readonly Handshake[];
  readonly requests: readonly HeaderAttack[];
};
const yamlOf = (config: string): string =>
  config
    .split(' + ')
    .map((name) => configs[name] ?? t.fail(`no config ${name}`))
    .join('\n---\n');
const expand = (text: string): string =>
  text.replace(/\{\{([\s\S]*?)\*(\d+)\}\}/g, (_, part: string, count: string) => part.repeat(Number(count)));

const authority = makeAuthority();
const caller = 'spiffe://cluster.local/ns/shop/sa/cart';
const good = authority.issue(caller);
const day = 86_400_000;
const selfSigned = (() => {
  const key = makeKey();
  return { certificateChainPem: toPem(makeCertificate(key, { sans: [{ uri: caller }] })), privateKeyPem: keyPem(key) };
})();
const certificates: Readonly<Record<string, { certificateChainPem: string; privateKeyPem: string } | undefined>> = {
  none: undefined,
  'other authority': makeAuthority().issue(caller),
  expired: authority.issue(caller, { notBefore: Date.now() - 2 * day, notAfter: Date.now() - day }),
  'not yet valid': authority.issue(caller, { notBefore: Date.now() + day, notAfter: Date.now() + 2 * day }),
  'self-signed': selfSigned,
  'other domain': authority.issue('spiffe://evil.example/ns/shop/sa/cart'),
  'no URI': authority.issue(caller, { sans: [{ dns: 'cart.shop' }] }),
  'two URIs': authority.issue(caller, { sans: [{ uri: caller }, { uri: `${caller}2` }] }),
  authority: authority.issue(caller, { ca: true }),
  'code signing': authority.issue(caller, { extendedKeyUsage: ['codeSigning'] }),
};

function tlsOptions(port: number, client: Client = {}): ConnectionOptions {
  const { alpn, certificate, ciphers, maxVersion, minVersion, serverName } = client;
  const shown = certificate === undefined ? good : certificates[certificate];
  return {
    host: '127.0.0.1',
    port,
    ca: authority.rootPem,
    checkServerIdentity: () => undefined,
    ...(shown === undefined ? {} : { cert: shown.certificateChainPem, key: shown.privateKeyPem }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

interface Answer {
  /** 0: none. */
  readonly status: number;
  readonly body: string;
}
const none: Answer = { status: 0, body: '' };

/** One request over a connection that is being made, in the protocol that was agreed on, else in that of the adapter. */
async function ask(adapter: Adapter, socket: Socket, headers: HeaderAttack['headers'] = []): Promise<Answer> {
  socket.on('error', () => {});
  const ready = new Promise<boolean>((resolve) => {
    socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', () => resolve(true));
    socket.once('close', () => resolve(false));
  });
  if (!(await ready)) return none;
  const agreed = socket instanceof TLSSocket ? socket.alpnProtocol : false;
  const http2 = agreed === 'h2' || (agreed !== 'http/1.1' && adapter.http2 === true);
  return http2 ? askHttp2(adapter, socket, headers) : askHttp1(socket, headers);
}

async function askHttp1(socket: Socket, headers: HeaderAttack['headers']): Promise<Answer> {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  socket.write(`GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n${lines}\r\n`);
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return none;
  const body = text.slice(end + 4);
  const from = body.indexOf('{');
  return { status: Number(text.split(' ')[1]), body: from === -1 ? body : body.slice(from, body.lastIndexOf('}') + 1) };
}

function askHttp2(adapter: Adapter, socket: Socket, headers: HeaderAttack['headers']): Promise<Answer> {
  return new Promise((resolve) => {
    const session = connectHttp2('http://web', { createConnection: () => socket });
    let answer = none;
    const end = (): void => {
      resolve(answer);
      session.destroy();
    };
    session.on('error', end).on('close', end);
    const grouped: Record<string, string | string[]> = {};
    for (const [name, value] of headers) {
      const before = grouped[name.toLowerCase()];
      grouped[name.toLowerCase()] = before === undefined ? value : [before, value].flat();
    }
    const stream = session.request({ ':path': '/', ...(adapter.grpc === true ? grpcHead : {}), ...grouped });
    stream.on('response', (got) => (answer = { ...answer, status: statusOf(got) }));
    stream.setEncoding('utf8').on('data', (chunk: string) => (answer = { ...answer, body: answer.body + chunk }));
    stream.on('error', end).on('end', end);
    stream.end();
  });
}

const seenOf = ({ body }: Answer): Seen => JSON.parse(body) as Seen;

/** What comes of raw bytes: the server's first bytes, and that the connection ends; after `patienceMs` the client ends it. */
async function sendBytes(port: number, bytes: Buffer, patienceMs: number): Promise<Buffer> {
  const socket = tcpConnect({ host: '127.0.0.1', port });
  const chunks: Buffer[] = [];
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    // It answered; nobody goes on from here.
    socket.destroy();
  });
  socket.write(bytes);
  // What is cut off in the middle waits for more; the client gives up first.
  const timer = setTimeout(() => socket.destroy(), patienceMs);
  await once(socket, 'close');
  clearTimeout(timer);
  return Buffer.concat(chunks);
}

/** Whether the server let itself be asked for another handshake. */
async function renegotiates(port: number, client: Client): Promise<boolean> {
  const socket = tlsConnect(tlsOptions(port, client));
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  const done = new Promise<boolean>((resolve) => {
    socket.once('close', () => resolve(false));
    socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error === null));
    // A server that says no in the words of the protocol leaves the connection open.
    setTimeout(() => resolve(false), 300);
  });
  const did = await done;
  socket.destroy();
  return did;
}

async function attempt(t: Test, adapter: Adapter, server: GuardedServer, attack: Handshake): Promise<void> {
  const { client, expected, id, title } = attack;
  const name = `${id} ${title}: ${expected}`;
  if (client.hello !== undefined) {
    const { serverName, alpn, ...rest } = client.hello;
    const hello = clientHello({
      ...rest,
      ...(serverName === undefined ? {} : { serverName: Buffer.from(serverName, 'hex') }),
      ...(alpn === undefined ? {} : { alpn: alpn.map((each) => Buffer.from(each, 'hex')) }),
    });
    const flight = readServerFlight(await sendBytes(server.port, hello, 20_000));
    if (expected === 'alert') t.match(flight, { kind: 'alert', level: 2 }, name);
    else if (expected === 'hello') t.match(flight, { kind: 'hello', compression: 0 }, `${name}: without compression`);
    else t.match(flight.kind, /^(hello|alert)$/, name);
    return;
  }
  if (client.bytes !== undefined) {
    const answer = await sendBytes(server.port, Buffer.from(client.bytes, 'hex'), 300);
    if (expected === 'refused') t.equal(answer.length, 0, name);
    else t.notMatch(answer.toString('latin1'), ' 200 ', name);
    return;
  }
  if (client.renegotiate === true) {
    t.equal(await renegotiates(server.port, client), false, name);
    return;
  }
  const socket: Socket =
    client.plaintext === true
      ? tcpConnect({ host: '127.0.0.1', port: server.plainPort })
      : tlsConnect(tlsOptions(server.port, client));
  const answer = await ask(adapter, socket);
  if (expected === 'refused') t.equal(answer.status, 0, name);
  else {
    t.equal(answer.status, 200, name);
    if (answer.status === 200)
      t.equal(seenOf(answer).peer, expected === 'served' ? caller : null, `${name}: who called`);
  }
}

for (const adapter of adapters) {
  t.test(`handshakes: ${adapter.name}`, { skip: adapter.ownTls === true && 'its TLS is its own' }, async (t) => {
    const server = await guard(adapter, authority);
    t.teardown(() => server.close());
    for (const attack of handshakes) {
      server.use(yamlOf(attack.config));
      await attempt(t, adapter, server, attack);
    }
    const answer = await ask(adapter, tlsConnect(tlsOptions(server.port)));
    t.match([answer.status, seenOf(answer).peer], [200, caller], 'and after all that who may come in still does');
  });

  t.test(`headers: ${adapter.name}`, async (t) => {
    const server = await guard(adapter, authority);
    t.teardown(() => server.close());
    for (const { id, title, config, secure, headers, expected } of requests) {
      const name = `${id} ${title}`;
      server.use(yamlOf(config));
      const socket = secure
        ? tlsConnect(tlsOptions(server.port))
        : tcpConnect({ host: '127.0.0.1', port: server.plainPort });
      const answer = await ask(
        adapter,
        socket,
        headers.map(([key, value]) => [key, expand(value)] as const),
      );
      // Servers of the application's own cannot refuse a connection, but they refuse its requests.
      const status = expected.status === 0 && adapter.ownTls === true ? 403 : expected.status;
      // Over HTTP/2 a header block that is too large is not even taken apart.
      if (status === 431 && adapter.http2 === true) t.match(answer.status, /^(0|431)$/, name);
      else t.equal(answer.status, status, name);
      if (answer.status !== 200) continue;
      const seen = seenOf(answer);
      t.equal(seen.peer, secure ? caller : null, `${name}: who called is what the connection says`);
      const names = seen.raw.filter((_, i) => i % 2 === 0).map((each) => each.toLowerCase());
      for (const gone of expected.without ?? []) {
        t.notOk(gone in seen.headers || names.includes(gone), `${name}: ${gone} is gone`);
      }
      if (expected.hidden !== undefined)
        t.notMatch(answer.body, new RegExp(expected.hidden), `${name}: nothing is left`);
      if (expected.clientCert === undefined) continue;
      const said = parseForwardedClientCert(String(seen.headers['x-forwarded-client-cert']));
      t.equal(said.length, expected.clientCert === 'own' ? 1 : 2, `${name}: elements`);
      t.same(said.at(-1)?.uris, [caller], `${name}: the last is ours`);
      t.same(said.at(-1)?.by, ['spiffe://cluster.local/ns/shop/sa/web']);
    }
  });

  t.test(
    `TLS-016 DISABLE of one port: ${adapter.name}`,
    { skip: adapter.ownTls === true && 'its ports are its own' },
    async (t) => {
      const server = await guard(adapter, authority);
      t.teardown(() => server.close());
      const other = await server.mesh.listen((_, response) => void response.end('other'), { host: '127.0.0.1' });
      t.teardown(() => other.close(0));
      server.use(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls: {${other.port}: {mode: DISABLE}}
`);
      const plain = await ask(adapter, tcpConnect({ host: '127.0.0.1', port: server.port }));
      t.equal(plain.status, 0, 'the other ports are STRICT');
      t.equal((await ask(adapter, tlsConnect(tlsOptions(server.port)))).status, 200);
      t.equal((await rawExchange(other.port, 'GET / HTTP/1.1\r\nHost: web\r\n\r\n'))[0]?.body, 'other');
      t.equal((await ask(adapter, tlsConnect(tlsOptions(other.port)))).status, 0, 'and that one speaks no TLS');
    },
  );
}

t.test('TLS-018 a mode that nobody knows is refused, never read as another', async (t) => {
  for (const mode of ['STRCIT', 'strict', '', 'UNSET_', '0']) {
    const yaml = `${configs['strict']}`.replace('mode: STRICT', `mode: "${mode}"`);
    const { documents } = parseYaml(yaml);
    const made = compile(documents, { workload: shopWeb });
    t.match(made, { ok: false, problems: [{ field: 'spec.mtls.mode' }] }, JSON.stringify(mode));
  }
});
