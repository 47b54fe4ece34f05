// Our client, calling a server of openssl.
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Credentials } from '../../../src/identity/source.ts';
import type { Mesh } from '../../../src/index.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { meshProcess, peerService } from '../envoy/mesh-process.ts';
import { type OpensslServer, opensslServer, withOpenssl } from './openssl.ts';

const authority = makeAuthority();
const other = makeAuthority();
const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews';

/** A server with these credentials that demands a certificate of our authority. */
async function server(t: Test, credentials: Credentials, ...args: readonly string[]): Promise<OpensslServer> {
  const folder = t.testdir({});
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const chain = write('chain.pem', credentials.certificateChainPem);
  const key = write('key.pem', credentials.privateKeyPem);
  const root = write('root.pem', authority.rootPem);
  const own = ['-cert', chain, '-cert_chain', chain, '-key', key];
  return opensslServer(t, [...own, '-CAfile', root, '-Verify', '5', '-verify_return_error', ...args]);
}

const clientOf = (t: Test, port: number): Promise<Mesh> => {
  const yaml = peerService({ name: 'reviews', port, tls: '{mode: ISTIO_MUTUAL}' });
  return meshProcess(t, 'web', yaml, authority.issue(webId));
};

async function ask(mesh: Mesh): Promise<string> {
  const response = await mesh.fetch('http://reviews/');
  return response.status === 200 ? await response.text() : (response.headers.get('x-inmesh-error') ?? 'no reason');
}

t.test(
  ...withOpenssl('versions and cipher suites that are good enough', async (t) => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const ecdsa = authority.issue(reviewsId);
    const rsa = authority.issue(reviewsId, { subjectKey: privateKey });
    const rows = [
      ['anything', ecdsa, [], 'TLSv1.3'],
      ['only 1.2', ecdsa, ['-tls1_2'], 'TLSv1.2'],
      ['only 1.3', ecdsa, ['-tls1_3'], 'TLSv1.3'],
      ['only 1.2, RSA', rsa, ['-tls1_2'], 'TLSv1.2'],
      ['one suite', ecdsa, ['-tls1_2', '-cipher', 'ECDHE-ECDSA-CHACHA20-POLY1305'], 'CHACHA20-POLY1305'],
      ['one suite, RSA', rsa, ['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256'], 'AES128-GCM-SHA256'],
    ] as const;
    for (const [what, credentials, args, expected] of rows) {
      const { port } = await server(t, credentials, ...args);
      const page = await ask(await clientOf(t, port));
      t.match(page, new RegExp(expected), what);
      t.match(page, /URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/, `${what}: our certificate arrived`);
    }
  }),
);

t.test(
  ...withOpenssl('versions and cipher suites that are not', async (t) => {
    const credentials = authority.issue(reviewsId);
    const rows = [
      ['1.1', ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']],
      ['CBC', ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0']],
      ['no encryption', ['-tls1_2', '-cipher', 'ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0']],
    ] as const;
    for (const [what, args] of rows) {
      const { port } = await server(t, credentials, ...args);
      t.match(await ask(await clientOf(t, port)), /TLS_FAILED/, what);
    }
  }),
);

t.test(
  ...withOpenssl('servers that are not who they must be', async (t) => {
    const rows = [
      ['the right one', authority.issue(reviewsId), /<HTML>/],
      ['another account', authority.issue('spiffe://cluster.local/ns/shop/sa/ratings'), /PEER_IDENTITY/],
      ['another trust domain', authority.issue('spiffe://other.test/ns/shop/sa/reviews'), /PEER_IDENTITY/],
      ['another authority', other.issue(reviewsId), /TLS_FAILED/],
      ['a host name', authority.issue(reviewsId, { sans: [{ dns: 'reviews.shop.svc.cluster.local' }] }), /PEER_IDENT/],
      [
        'a host name beside the SPIFFE ID',
        authority.issue(reviewsId, { sans: [{ uri: reviewsId }, { dns: 'reviews' }] }),
        /<HTML>/,
      ],
      ['two SPIFFE IDs', authority.issue(reviewsId, { sans: [{ uri: reviewsId }, { uri: webId }] }), /PEER_IDENTITY/],
      [
        'for clients only',
        authority.issue(reviewsId, { extendedKeyUsage: ['clientAuth'] }),
        /TLS_FAILED|PEER_IDENTITY/,
      ],
      [
        'expired',
        authority.issue(reviewsId, { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 }),
        /TLS_FAILED/,
      ],
    ] as const;
    for (const [what, credentials, expected] of rows) {
      for (const version of ['-tls1_2', '-tls1_3']) {
        const { port } = await server(t, credentials, version);
        t.match(await ask(await clientOf(t, port)), expected, `${what}, ${version}`);
      }
    }
  }),
);

t.test(
  ...withOpenssl('no session is offered for resumption', async (t) => {
    for (const version of ['-tls1_2', '-tls1_3']) {
      const { port } = await server(t, authority.issue(reviewsId), version);
      const mesh = await clientOf(t, port);
      for (let i = 0; i < 3; i++) t.match(await ask(mesh), /^New, TLS/m, `${version}, request ${i}`);
    }
  }),
);
