// Every kind of certificate and revocation list that the authority makes, read by a linter for X.509.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { everyAuthority } from '../ca-certificates.ts';
import { goProgram } from '../peers.ts';

/** What RFCs demand; rules of browsers for public authorities are not about certificates of a mesh. */
const sources = ['RFC3279', 'RFC5280', 'RFC5480', 'RFC5891', 'RFC8813', 'Community'].join(',');

/** What may be found, and why it may. */
const allowed: Readonly<Record<string, string>> = {};

t.test('a linter finds nothing in any certificate that the authority makes', async (t) => {
  const linter = goProgram('zlint', 'github.com/zmap/zlint/v3/cmd/zlint@v3.6.8');
  if ('why' in linter) {
    t.comment(`skipped, there is no linter here: ${linter.why}`);
    return;
  }
  const folder = t.testdir({});
  const seen = new Set<string>();
  const met = new Set<string>();
  let passed = 0;
  for (const { crls, name, revoked, roots, servers, workloads } of everyAuthority(t)) {
    const chains = [...Object.entries(workloads), ...Object.entries(servers), ['revoked', revoked] as const];
    const found = [
      ...roots.map((pem, i) => [`root ${i}`, pem] as const),
      ...chains.flatMap(([what, chain]) => chain.map((pem, i) => [`${what}, certificate ${i}`, pem] as const)),
      ...crls.map((pem, i) => [`revocation list ${i}`, pem] as const),
    ];
    for (const [what, pem] of found) {
      if (seen.has(pem)) continue;
      seen.add(pem);
      const file = join(folder, 'it.pem');
      writeFileSync(file, pem);
      const results = Object.entries(
        JSON.parse(execFileSync(linter.path, ['-includeSources', sources, file], { encoding: 'utf8' })) as Record<
          string,
          Finding
        >,
      );
      passed += results.filter(([, { result }]) => result === 'pass').length;
      const bad = results.filter(([, { result }]) => ['info', 'warn', 'error', 'fatal'].includes(result));
      for (const [lint] of bad) met.add(lint);
      t.same(
        bad.filter(([lint]) => allowed[lint] === undefined).map(([lint, finding]) => ({ lint, ...finding })),
        [],
        `${name}: ${what}`,
      );
    }
  }
  t.ok(seen.size > 80, `${seen.size} certificates and lists`);
  t.ok(passed > seen.size * 40, `${passed} lints passed`);
  t.same(
    Object.keys(allowed).filter((lint) => !met.has(lint)),
    [],
    'nothing is allowed that is not there',
  );
});

interface Finding {
  readonly result: string;
  readonly details?: string;
}
