import t from 'tap';
import { withoutRoots } from '../../src/identity/chain.ts';
import { makeAuthority, makeCertificate, makeKey, toPem } from '../support/certificates.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const authority = makeAuthority();
const issued = authority.issue(web);
const other = makeAuthority({ trustDomain: 'other.example' });

const chains: readonly (readonly [string, string, string])[] = [
  ['the root at the end', issued.certificateChainPem + authority.rootPem, issued.certificateChainPem],
  [
    'the root in between',
    issued.certificateChainPem.replace(authority.intermediatePem, authority.rootPem + authority.intermediatePem),
    issued.certificateChainPem,
  ],
  ['no root', issued.certificateChainPem, issued.certificateChainPem],
  [
    'a root that is not in the bundle',
    issued.certificateChainPem + other.rootPem,
    issued.certificateChainPem + other.rootPem,
  ],
];
for (const [what, chain, sent] of chains) {
  t.test(`a chain with ${what}`, async (t) => {
    t.equal(withoutRoots({ ...issued, certificateChainPem: chain }).certificateChainPem, sent);
  });
}

t.test('an authority in the bundle that another signed is needed by peers that have the other', async (t) => {
  const trustBundles = new Map([['cluster.local', [authority.intermediatePem, authority.rootPem]]]);
  t.equal(withoutRoots({ ...issued, trustBundles }).certificateChainPem, issued.certificateChainPem);
});

t.test('a leaf that signed itself stays', async (t) => {
  const leaf = toPem(makeCertificate(makeKey(), { name: 'itself', sans: [{ uri: web }] }));
  const trustBundles = new Map([['cluster.local', [leaf]]]);
  t.equal(withoutRoots({ ...issued, certificateChainPem: leaf, trustBundles }).certificateChainPem, leaf);
});
