import t from 'tap';
import { rootNames } from '../../src/identity/root-names.ts';
import { makeAuthority } from '../support/certificates.ts';

t.test('names the roots of each trust domain, on one line each, and not all of very many', (t) => {
  const [own, partner] = [makeAuthority({ name: 'mesh root' }), makeAuthority({ name: 'root\nof ünser Freund' })];
  const bundles = new Map([
    ['cluster.local', [own.rootPem]],
    ['partner.example', [partner.rootPem]],
  ]);
  const names = rootNames(bundles);
  t.equal(names[0], 'cluster.local: CN=mesh root');
  t.match(names[1], /^partner\.example: CN=root.*Freund$/);
  for (const name of names) t.notMatch(name, /[^\x20-\x7e]/);
  const many = Array.from({ length: 30 }, (_, i): [string, readonly string[]] => [`d${i}.example`, [own.rootPem]]);
  t.equal(rootNames(new Map(many)).length, 20);
  t.same(rootNames(new Map()), []);
  t.end();
});
