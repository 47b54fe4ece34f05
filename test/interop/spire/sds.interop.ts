// SDS of a real SPIRE agent: the same socket as its Workload API, spoken as an Envoy speaks it.
import { readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sdsSource } from '@inmesh/sds';
import { type Credentials, readPemCertificates, verifyPeer } from 'inmesh/identity';
import t from 'tap';
import { makeAuthority } from '../../support/certificates.ts';
import { followSource } from '../followed-source.ts';
import { spirePrograms } from './programs.ts';
import { startSpire } from './spire.ts';

const programs = spirePrograms();
const self = readlinkSync('/proc/self/exe');
const web = 'spiffe://example.org/ns/shop/sa/web';
const partner = makeAuthority({ trustDomain: 'partner.example' });

t.test('SPIRE by SDS: a workload that is let in later, rotation, federation, an agent that restarts', async (t) => {
  if ('why' in programs) {
    t.comment(`skipped, there is no peer here: ${programs.why}`);
    return;
  }
  const spire = await startSpire(t, programs, 'example.org');
  writeFileSync(join(spire.folder, 'partner.pem'), partner.rootPem);
  spire.server('bundle', 'set', '-id', 'spiffe://partner.example', '-path', join(spire.folder, 'partner.pem'));

  const own = followSource(t, sdsSource({ path: spire.socketPath, roots: 'ROOTCA' }));
  const all = followSource(t, sdsSource({ path: spire.socketPath, roots: 'ALL' }));
  await own.until('the refusal', () => own.problems.length > 0);
  t.match(own.problems[0], /^rejected: .* refused: (PERMISSION_DENIED|INVALID_ARGUMENT)/, 'nobody knows us yet');

  spire.entry(web, self, { ttl: 20, federatesWith: 'spiffe://partner.example' });
  await own.until('an identity', () => own.updates.length > 0);
  await all.until('an identity', () => all.updates.length > 0);
  const first = own.updates[0] as Credentials;
  t.equal(first.spiffeId, web);
  t.same([...first.trustBundles.keys()], ['example.org'], 'the roots of the own trust domain, by name');
  const chain = readPemCertificates(first.certificateChainPem, 'chain');
  t.equal(verifyPeer(chain, first.trustBundles, Date.now()).spiffeId, web);
  t.same([...(all.updates[0]?.trustBundles.keys() ?? [])].sort(), ['example.org', 'partner.example']);
  t.same(all.updates[0]?.trustBundles.get('partner.example'), [partner.rootPem]);

  await own.until('a rotation', () => own.updates.at(-1)?.privateKeyPem !== first.privateKeyPem);
  await spire.stopAgent();
  await own.until('the loss', () => own.problems.some((problem) => problem.startsWith('lost: ')));
  const before = own.updates.length;
  await spire.startAgent();
  await own.until('new certificates', () => own.updates.length > before);
  t.equal(own.updates.at(-1)?.spiffeId, web);
});
