import { X509Certificate } from 'node:crypto';
import type { Credentials } from '../../src/identity/source.ts';
import {
  keyPem,
  makeAuthority,
  makeCertificate,
  makeKey,
  type TestAuthority,
  type TestCertificateOptions,
  type TestSigner,
  toPem,
} from './certificates.ts';

/** Certificates that a peer may present, good and hostile, by the numbers of the attack catalogue. */
export interface SvidCase {
  readonly id: string;
  readonly title: string;
  readonly presented: Credentials;
  /** Nothing: must be accepted. */
  readonly refusedFor?: RegExp;
}

/** The mesh of the cases: cluster.local, federated with partner.example. */
export interface SvidWorld {
  readonly mesh: TestAuthority;
  readonly partner: TestAuthority;
  readonly cases: readonly SvidCase[];
}

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const minute = 60_000;

/** Makes the world and all cases. `meshIntermediate: false` signs leaves with the roots themselves. */
export function svidWorld(options: { readonly meshIntermediate: boolean }): SvidWorld {
  const mesh = makeAuthority({ intermediate: options.meshIntermediate });
  const partner = makeAuthority({ trustDomain: 'partner.example', intermediate: options.meshIntermediate });
  const lookAlike = makeAuthority({ intermediate: options.meshIntermediate, name: mesh.root.name });
  const now = Date.now();

  const leaf = (certificate: TestCertificateOptions = {}): Credentials => mesh.issue(web, certificate);
  const named = (uri: string): Credentials => mesh.issue(uri);
  const cases: SvidCase[] = [
    { id: 'SVID-001', title: 'valid SVID', presented: leaf() },
    {
      id: 'SVID-002',
      title: 'two SPIFFE URI SANs',
      presented: leaf({ sans: [{ uri: web }, { uri: 'spiffe://cluster.local/ns/shop/sa/admin' }] }),
      refusedFor: /exactly one URI name, presented 2 "spiffe:.*web", "spiffe:.*admin"/,
    },
    {
      id: 'SVID-003',
      title: 'one SPIFFE URI and one https URI',
      presented: leaf({ sans: [{ uri: web }, { uri: 'https://x' }] }),
      refusedFor: /exactly one URI name, presented 2/,
    },
    { id: 'SVID-004', title: 'no SAN', presented: leaf({ sans: [], name: 'web' }), refusedFor: /presented 0/ },
    { id: 'SVID-007', title: 'URI and DNS SAN', presented: leaf({ sans: [{ uri: web }, { dns: 'web' }] }) },
    {
      id: 'SVID-008',
      title: 'scheme not spiffe',
      presented: named('https://cluster.local/ns/shop/sa/web'),
      refusedFor: /scheme is not spiffe/,
    },
    {
      id: 'SVID-011',
      title: 'unknown trust domain, our root',
      presented: named('spiffe://evil.example/ns/shop/sa/web'),
      refusedFor: /trust domain evil\.example .* is not trusted \(trusted: cluster\.local, partner\.example\)/,
    },
    {
      id: 'SVID-012',
      title: 'federated trust domain signed by our root',
      presented: named('spiffe://partner.example/ns/a/sa/b'),
      refusedFor: /does not chain to a root of trust domain partner\.example/,
    },
    {
      id: 'SVID-013',
      title: 'federated, right root',
      presented: partner.issue('spiffe://partner.example/ns/a/sa/b'),
    },
    { id: 'SVID-016', title: 'trailing slash', presented: named(`${web}/`), refusedFor: /bad path segment/ },
    {
      id: 'SVID-017',
      title: 'empty segment',
      presented: named('spiffe://cluster.local/ns//sa/'),
      refusedFor: /bad path segment/,
    },
    {
      id: 'SVID-018',
      title: 'dot-dot segment',
      presented: named('spiffe://cluster.local/ns/a/../shop/sa/web'),
      refusedFor: /bad path segment/,
    },
    {
      id: 'SVID-019',
      title: 'percent-encoding in path',
      presented: named('spiffe://cluster.local/ns/shop/sa/w%65b'),
      refusedFor: /bad path segment/,
    },
    {
      id: 'SVID-022',
      title: 'userinfo and port',
      presented: named('spiffe://u@cluster.local:80/ns/shop/sa/web'),
      refusedFor: /bad trust domain/,
    },
    {
      id: 'SVID-023',
      title: 'NUL inside the URI',
      presented: named(`${web}\0.evil`),
      refusedFor: /holds the byte 0x00/,
    },
    {
      id: 'SVID-024',
      title: 'comma and "URI:" inside the URI',
      presented: named(`${web}, URI:spiffe://cluster.local/ns/shop/sa/admin`),
      refusedFor: /bad path segment/,
    },
    {
      id: 'SVID-025',
      title: 'newline inside the URI',
      presented: named(`${web}\nX-Admin: 1`),
      refusedFor: /holds the byte 0x0a/,
    },
    {
      id: 'SVID-026',
      title: 'homoglyph',
      presented: named('spiffe://cluster.local/ns/shоp/sa/web'),
      refusedFor: /holds the byte 0xd0/,
    },
    {
      id: 'SVID-027',
      title: 'ID of 2,048 bytes',
      presented: named(`spiffe://cluster.local/${'a'.repeat(2_048 - 'spiffe://cluster.local/'.length)}`),
    },
    {
      id: 'SVID-027+',
      title: 'ID of 2,049 bytes',
      presented: named(`spiffe://cluster.local/${'a'.repeat(2_049 - 'spiffe://cluster.local/'.length)}`),
      refusedFor: /longer than 2,048 bytes/,
    },
    {
      id: 'SVID-029',
      title: 'trust domain longer than 255',
      presented: named(`spiffe://${'a'.repeat(300)}/x`),
      refusedFor: /bad trust domain/,
    },
    {
      id: 'extra-upper',
      title: 'upper-case trust domain',
      presented: named('spiffe://Cluster.Local/ns/shop/sa/web'),
      refusedFor: /bad trust domain/,
    },
    {
      id: 'extra-root',
      title: 'ID of the trust domain itself',
      presented: named('spiffe://cluster.local'),
      refusedFor: /expected a workload/,
    },
    {
      id: 'extra-ca',
      title: 'leaf with cA true',
      presented: leaf({ ca: true, keyUsage: ['digitalSignature'], extendedKeyUsage: null }),
      refusedFor: /cA is true/,
    },
    {
      id: 'extra-sign',
      title: 'leaf with keyCertSign',
      presented: leaf({ keyUsage: ['digitalSignature', 'keyCertSign'] }),
      refusedFor: /keyCertSign or cRLSign/,
    },
    {
      id: 'extra-crl',
      title: 'leaf with cRLSign',
      presented: leaf({ keyUsage: ['digitalSignature', 'cRLSign'] }),
      refusedFor: /keyCertSign or cRLSign/,
    },
    {
      id: 'extra-nods',
      title: 'leaf without digitalSignature',
      presented: leaf({ keyUsage: ['keyAgreement'] }),
      refusedFor: /lacks it/,
    },
    { id: 'SVID-033', title: 'leaf without keyUsage', presented: leaf({ keyUsage: null }), refusedFor: /has none/ },
    {
      id: 'SVID-033+',
      title: 'keyUsage that is not critical',
      presented: leaf({ keyUsageCritical: false }),
      refusedFor: /not critical/,
    },
    { id: 'SVID-034', title: 'leaf signs another leaf', ...leafSignsLeaf(mesh) },
    {
      id: 'SVID-035',
      title: 'intermediate without basicConstraints',
      presented: below(mesh.root, [{ ca: null, keyUsage: null, extendedKeyUsage: null }]),
      refusedFor: chainProblem(/is not an authority/),
    },
    {
      id: 'SVID-035+',
      title: 'intermediate without keyCertSign',
      presented: below(mesh.root, [{ keyUsage: ['digitalSignature'] }]),
      // checkIssued sees to it, before our own rule is asked.
      refusedFor: /does not chain/,
    },
    {
      id: 'SVID-036',
      title: 'pathLen exceeded',
      presented: below(mesh.root, [{ pathLength: 0 }, {}]),
      refusedFor: chainProblem(/allows 0 authorities below itself, presented 1/),
    },
    {
      id: 'SVID-037',
      title: 'URI name constraint violated',
      presented: below(mesh.root, [{ permittedUris: ['other.example', '.cluster.local'] }]),
      refusedFor: chainProblem(/may sign for other\.example, \.cluster\.local only/),
    },
    {
      id: 'SVID-037-excluded',
      title: 'excluded URI name constraint',
      presented: below(mesh.root, [{ excludedUris: ['cluster.local'] }]),
      refusedFor: chainProblem(/must not sign for cluster\.local/),
    },
    {
      id: 'SVID-037-kept',
      title: 'URI name constraint kept',
      presented: below(mesh.root, [{ permittedUris: ['cluster.local'] }]),
    },
    {
      id: 'SVID-038',
      title: 'EKU serverAuth only',
      presented: leaf({ extendedKeyUsage: ['serverAuth'] }),
      refusedFor: /expected serverAuth and clientAuth/,
    },
    {
      id: 'SVID-038+',
      title: 'EKU clientAuth only',
      presented: leaf({ extendedKeyUsage: ['clientAuth'] }),
      refusedFor: /expected serverAuth and clientAuth/,
    },
    {
      id: 'SVID-039',
      title: 'EKU codeSigning',
      presented: leaf({ extendedKeyUsage: ['codeSigning'] }),
      refusedFor: /expected serverAuth and clientAuth/,
    },
    { id: 'SVID-039+', title: 'no EKU at all', presented: leaf({ extendedKeyUsage: null }) },
    {
      id: 'SVID-040',
      title: 'expired',
      presented: leaf({ notBefore: now - 60 * minute, notAfter: now - minute }),
      refusedFor: /expired at/,
    },
    {
      id: 'SVID-041',
      title: 'not yet valid',
      presented: leaf({ notBefore: now + 50 * minute, notAfter: now + 100 * minute }),
      refusedFor: /is valid from .* only, and it is/,
    },
    {
      id: 'SVID-042',
      title: 'expired intermediate',
      presented: below(mesh.root, [{ notBefore: now - 60 * minute, notAfter: now - minute }]),
      refusedFor: chainProblem(/expired at/),
    },
    {
      id: 'SVID-043',
      title: 'other CA, same subject name',
      presented: lookAlike.issue(web),
      refusedFor: /does not chain to a root of trust domain cluster\.local/,
    },
    { id: 'SVID-044', title: 'self-signed with the right SAN', ...selfSigned() },
    {
      id: 'SVID-048',
      title: 'certificate with 10,000 DNS SANs',
      presented: leaf({ sans: [{ uri: web }, ...Array.from({ length: 10_000 }, (_, i) => ({ dns: `host-${i}` }))] }),
      refusedFor: /at most 65536 are read/,
    },
    {
      id: 'SVID-049',
      title: 'chain of 60 certificates',
      presented: below(mesh.root, new Array<TestCertificateOptions>(59).fill({})),
      refusedFor: /more than 5 certificates/,
    },
    {
      id: 'SVID-049+',
      title: 'chain of 5 with the root',
      presented: below(mesh.root, [{}, {}, {}]),
    },
  ];
  return { mesh, partner, cases };
}

const causes = new WeakSet<RegExp>();

/** The reason why a path was not taken is the cause of the error, not its message. */
function chainProblem(pattern: RegExp): RegExp {
  causes.add(pattern);
  return pattern;
}

/** Whether an error says what a case expects. */
export function saysWhy(error: unknown, expected: RegExp): boolean {
  if (!(error instanceof Error)) return false;
  const told = causes.has(expected) && error.cause instanceof Error ? error.cause.message : error.message;
  return expected.test(told);
}

/** A leaf for web below a chain of authorities, the one that the root signs first. */
function below(root: TestSigner, authorities: readonly TestCertificateOptions[]): Credentials {
  let signer = root;
  let chain = '';
  authorities.forEach((options, i) => {
    const next = { name: `authority ${i}`, key: makeKey() };
    chain = toPem(makeCertificate(next.key, { name: next.name, ca: true, ...options }, signer)) + chain;
    signer = next;
  });
  const key = makeKey();
  const leaf = makeCertificate(key, { sans: [{ uri: web }] }, signer);
  return credentials(toPem(leaf) + chain, keyPem(key));
}

function leafSignsLeaf(mesh: TestAuthority): Pick<SvidCase, 'presented' | 'refusedFor'> {
  const first = { name: 'first leaf', key: makeKey() };
  const above = makeCertificate(first.key, { name: first.name, sans: [{ uri: web }] }, mesh.signer);
  const key = makeKey();
  const second = makeCertificate(key, { sans: [{ uri: 'spiffe://cluster.local/ns/shop/sa/admin' }] }, first);
  const chain = toPem(second) + toPem(above) + mesh.intermediatePem;
  return { presented: credentials(chain, keyPem(key)), refusedFor: /does not chain/ };
}

function selfSigned(): Pick<SvidCase, 'presented' | 'refusedFor'> {
  const key = makeKey();
  const pem = toPem(makeCertificate(key, { sans: [{ uri: web }] }));
  return { presented: credentials(pem, keyPem(key)), refusedFor: /does not chain/ };
}

function credentials(certificateChainPem: string, privateKeyPem: string): Credentials {
  const leaf = new X509Certificate(certificateChainPem);
  return {
    spiffeId: web,
    certificateChainPem,
    privateKeyPem,
    trustBundles: new Map(),
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
  };
}
