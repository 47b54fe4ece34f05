import t from 'tap';
import { checkServerNames, nameOfHost } from '../../src/transport/server-names.ts';
import { makeCertificate, makeKey, type TestSan } from '../support/certificates.ts';

const hosts: readonly (readonly [header: string, name: string])[] = [
  ['example.com', 'example.com'],
  ['example.com:8080', 'example.com'],
  ['Example.COM', 'example.com'],
  ['example.com.', 'example.com'],
  ['example.com.:80', 'example.com'],
  ['10.0.0.1:80', '10.0.0.1'],
  ['[::1]', '::1'],
  ['[::1]:80', '::1'],
  ['[::1', ''],
  ['', ''],
];

t.test('what a Host header names', async (t) => {
  for (const [header, name] of hosts) t.equal(nameOfHost(header), name, header);
});

const certificate = (...sans: TestSan[]): Buffer => makeCertificate(makeKey(), { name: 'common.example.com', sans });
const one = certificate(
  { dns: 'a.example.com' },
  { dns: '*.b.example.com' },
  { ip: [10, 0, 0, 1] },
  { ip: [...Buffer.alloc(15), 1] },
  { uri: 'spiffe://cluster.local/ns/a/sa/b' },
  { uri: 'https://example.com/a' },
  // rfc822Name
  { raw: Buffer.concat([Buffer.from([0x81, 13]), Buffer.from('a@example.com')]) },
);

const names: readonly (readonly [name: string, has: boolean])[] = [
  ['a.example.com', true],
  ['A.Example.com', true],
  ['b.example.com', false],
  ['x.b.example.com', true],
  ['x.y.b.example.com', false],
  ['*.b.example.com', true],
  ['*.example.com', false],
  ['.example.com', false],
  ['example.com', false],
  ['common.example.com', false],
  ['10.0.0.1', true],
  ['10.0.0.2', false],
  ['::1', true],
  ['::2', false],
  ['spiffe://cluster.local/ns/a/sa/b', true],
  ['spiffe://cluster.local/ns/a/sa/b2', false],
  ['spiffe://cluster.local/ns/a/sa/', false],
  ['https://example.com/a', true],
  ['a@example.com', true],
  ['b@example.com', false],
  ['', false],
];

t.test('a certificate has a name of any kind, exactly', async (t) => {
  for (const [name, has] of names) t.equal(checkServerNames([name], one) === undefined, has, name);
});

t.test('one of several names is enough', async (t) => {
  t.equal(checkServerNames(['z.test', 'a.example.com'], one), undefined);
  t.ok(checkServerNames([], one), 'but none at all is not');
});

t.test('the refusal says what was expected, and what there is', async (t) => {
  const error = checkServerNames(['z.test', 'y.test'], certificate({ dns: 'a.example.com' }));
  t.match(error, {
    code: 'ERR_MESH_PEER_IDENTITY',
    message: 'the certificate must be for z.test or y.test, but has DNS:a.example.com',
  });
  t.match(checkServerNames(['z.test'], certificate()), { message: /but has no name at all/ });
});

t.test('one name cannot pretend to be two', async (t) => {
  const sly = certificate({ dns: 'evil.test, DNS:*.good.test' });
  t.ok(checkServerNames(['*.good.test'], sly));
  t.ok(checkServerNames(['x.good.test'], sly));
});

t.test('a certificate whose extensions cannot be read has no URI', async (t) => {
  const broken = makeCertificate(makeKey(), {
    sans: [{ dns: 'a.test' }, { uri: new Uint8Array([0xff, 0xfe]) }],
  });
  t.ok(checkServerNames(['spiffe://a/b'], broken));
  t.equal(checkServerNames(['a.test'], broken), undefined);
});
