// Our listener, called by openssl.
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Credentials } from '../../../src/identity/source.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { meshProcess } from '../envoy/mesh-process.ts';
import { type ClientOptions, opensslClient, type Ran, withOpenssl } from './openssl.ts';

const authority = makeAuthority();
const other = makeAuthority();
const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews';
const rsa = (): Credentials => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return authority.issue(reviewsId, { subjectKey: privateKey });
};

const policy = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
`;

type Call = (options?: Partial<ClientOptions> & { readonly client?: Credentials | 'none' }) => Promise<Ran>;

/** Starts a server of the mesh; calls it with one request, as a client of the mesh where nothing else is said. */
async function serve(t: Test, mode = 'STRICT', credentials = authority.issue(reviewsId), more = ''): Promise<Call> {
  const mesh = await meshProcess(t, 'reviews', policy(mode) + more, credentials);
  const { port } = await mesh.listen((_request, response) => void response.end('served'), { host: '127.0.0.1' });
  const folder = t.testdir({});
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  return ({ args = [], client = authority.issue(webId), send = get, until = /served/ } = {}) => {
    const own = client === 'none' ? [] : showing(client, write);
    const trust = ['-CAfile', write('root.pem', authority.rootPem), '-verify_return_error'];
    return opensslClient(port, { args: [...trust, ...own, ...args], send, until });
  };
}

function showing({ certificateChainPem, privateKeyPem }: Credentials, write: (name: string, text: string) => string) {
  const chain = write('chain.pem', certificateChainPem);
  return ['-cert', chain, '-cert_chain', chain, '-key', write('key.pem', privateKeyPem)];
}

const get = 'GET / HTTP/1.1\r\nHost: reviews\r\n\r\n';
/** openssl itself must be willing, or it would be its refusal that is seen. */
const anything = 'ALL:COMPLEMENTOFALL:@SECLEVEL=0';

t.test(
  ...withOpenssl('versions: 1.2 and 1.3', async (t) => {
    const call = await serve(t);
    for (const [version, expected] of [
      ['-tls1_3', /New, TLSv1\.3, Cipher is TLS_AES_256_GCM_SHA384/],
      ['-tls1_2', /New, TLSv1\.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384/],
    ] as const) {
      const { text } = await call({ args: [version] });
      t.match(text, expected, version);
      t.match(text, /Verify return code: 0 \(ok\)|Verification: OK/, version);
      t.match(text, /served/, version);
    }
    for (const version of ['-tls1_1', '-tls1']) {
      const { text } = await call({ args: [version, '-cipher', anything] });
      t.match(text, /alert protocol version/, version);
      t.notMatch(text, /served/, version);
    }
  }),
);

t.test(
  ...withOpenssl('cipher suites: with forward secrecy and authenticated encryption, and no other', async (t) => {
    const servers = [
      ['ECDSA', await serve(t)],
      ['RSA', await serve(t, 'STRICT', rsa())],
    ] as const;
    for (const [key, call] of servers) {
      for (const suite of ['AES256-GCM-SHA384', 'AES128-GCM-SHA256', 'CHACHA20-POLY1305']) {
        const { text } = await call({ args: ['-tls1_2', '-cipher', `ECDHE-${key}-${suite}`] });
        t.match(text, new RegExp(`Cipher is ECDHE-${key}-${suite}`));
        t.match(text, /served/, `${key} ${suite}`);
      }
      for (const suite of ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']) {
        const { text } = await call({ args: ['-tls1_3', '-ciphersuites', suite] });
        t.match(text, new RegExp(`Cipher is ${suite}`));
        t.match(text, /served/, `${key} ${suite}`);
      }
      const weak = [
        `ECDHE-${key}-AES128-SHA`,
        `ECDHE-${key}-AES256-SHA384`,
        'AES256-GCM-SHA384',
        'AES128-GCM-SHA256',
        'AES128-SHA',
        'DHE-RSA-AES256-GCM-SHA384',
        'AECDH-AES128-SHA',
        'ADH-AES256-GCM-SHA384',
        `ECDHE-${key}-NULL-SHA`,
      ];
      for (const suite of weak) {
        const { text } = await call({ args: ['-tls1_2', '-cipher', `${suite}:@SECLEVEL=0`] });
        t.match(text, /alert handshake failure/, `${key}: ${suite}`);
        t.notMatch(text, /served/, `${key}: ${suite}`);
      }
    }
  }),
);

t.test(
  ...withOpenssl('version, suites and curves are those of meshMTLS', async (t) => {
    const [small, large] = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'];
    for (const [says, served, refused, alert] of [
      ['minProtocolVersion: TLSV1_3', ['-tls1_3'], ['-tls1_2'], /alert protocol version/],
      [
        `cipherSuites: [${small}]`,
        ['-tls1_2', '-cipher', small],
        ['-tls1_2', '-cipher', large],
        /alert handshake failure/,
      ],
      ['ecdhCurves: [P-384]', ['-groups', 'P-384'], ['-groups', 'P-256'], /alert handshake failure/],
    ] as const) {
      const more = `---\n{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {meshMTLS: {${says}}}}\n`;
      const call = await serve(t, 'STRICT', authority.issue(reviewsId), more);
      t.match((await call({ args: [...served] })).text, /served/, says);
      const { text } = await call({ args: [...refused] });
      t.match(text, alert, says);
      t.notMatch(text, /served/, says);
    }
  }),
);

t.test(
  ...withOpenssl('who shows no certificate of the mesh gets no answer', async (t) => {
    const call = await serve(t);
    const clients = {
      'none at all': 'none',
      'of another authority': other.issue(webId),
      'of another trust domain': authority.issue('spiffe://other.test/ns/shop/sa/web'),
      'without a SPIFFE ID': authority.issue(webId, { sans: [{ dns: 'web.shop' }] }),
      'of an authority itself': authority.issue(webId, { ca: true, keyUsage: ['digitalSignature', 'keyCertSign'] }),
      'for servers only': authority.issue(webId, { extendedKeyUsage: ['serverAuth'] }),
      expired: authority.issue(webId, { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 }),
    } as const;
    for (const version of ['-tls1_2', '-tls1_3']) {
      for (const [who, client] of Object.entries(clients)) {
        const { text } = await call({ args: [version], client });
        t.notMatch(text, /served/, `${who}, ${version}`);
        t.match(text, /alert|errno|closed|read:|:error:/i, `${who}, ${version}`);
      }
    }
  }),
);

t.test(
  ...withOpenssl('no session is resumed, and nothing is negotiated twice', async (t) => {
    const call = await serve(t);
    const folder = t.testdir({});
    const session = join(folder, 'session.pem');
    for (const version of ['-tls1_2', '-tls1_3']) {
      const first = await call({ args: [version, '-sess_out', session] });
      t.match(first.text, /served/, version);
      t.notMatch(first.text, /New Session Ticket arrived|TLS session ticket:/, version);
    }
    // It connects once, and then five times with the session that it has.
    const again = await call({ args: ['-tls1_2', '-reconnect'], until: /(?:New, TLS[\s\S]*){6}|Reused, TLS/ });
    t.equal(again.text.match(/^New, TLSv1\.2/gm)?.length, 6);
    t.notMatch(again.text, /Reused, TLS/);
    const resumed = await call({ args: ['-tls1_2', '-sess_in', session] });
    t.notMatch(resumed.text, /Reused, TLS/);
    const renegotiated = await call({ args: ['-tls1_2'], send: 'R\n', until: /:error:|closed/ });
    t.match(renegotiated.text, /RENEGOTIATING/);
    t.match(renegotiated.text, /no renegotiation|unexpected eof|closed/, 'the connection is over');
    t.equal(renegotiated.text.match(/depth=0/g)?.length, 1, 'there was one handshake');
  }),
);

t.test(
  ...withOpenssl('protocols: what is answered to those that a client offers', async (t) => {
    const call = await serve(t);
    const rows = [
      ['h2,http/1.1', 'h2'],
      ['http/1.1,h2', 'h2'],
      ['istio-http/1.1,istio,http/1.1', 'http/1.1'],
      ['istio-h2,istio,h2', 'h2'],
      ['istio-peer-exchange,istio', 'istio'],
      ['istio', 'istio'],
    ] as const;
    for (const [offered, chosen] of rows) {
      const { text } = await call({ args: ['-alpn', offered], until: /ALPN protocol: .*\n/ });
      t.match(text, new RegExp(`ALPN protocol: ${chosen.replace('.', '\\.')}\n`), offered);
    }
    const without = await call();
    t.match(without.text, /No ALPN negotiated/);
    t.match(without.text, /served/);
    const unknown = await call({ args: ['-alpn', 'spdy/3'] });
    t.match(unknown.text, /alert no application protocol/);
    t.notMatch(unknown.text, /served/);
  }),
);

t.test(
  ...withOpenssl('a permissive port wants no less of whoever comes with TLS', async (t) => {
    const call = await serve(t, 'PERMISSIVE');
    t.match((await call()).text, /served/);
    t.notMatch((await call({ client: 'none' })).text, /served/);
    t.notMatch((await call({ client: other.issue(webId) })).text, /served/);
    const disabled = await serve(t, 'DISABLE');
    t.notMatch((await disabled()).text, /served/, 'a port without mutual TLS has no TLS');
  }),
);
