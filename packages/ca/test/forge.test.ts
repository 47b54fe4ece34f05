import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../../..');

/** Source files of the core and of all packages. */
function sources(): readonly string[] {
  const packages = readdirSync(join(root, 'packages')).map((name) => join('packages', name, 'src'));
  return ['src', ...packages].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  );
}

t.test('node-forge only builds: one file uses it, and nothing of it that reads, verifies or guesses', async (t) => {
  // CA-018
  const users = sources().filter((file) =>
    /from 'node-forge'|require\('node-forge|import\('node-forge/.test(readFileSync(join(root, file), 'utf8')),
  );
  t.same(users, [join('packages', 'ca', 'src', 'asn1.ts')]);
  const text = readFileSync(join(root, users[0] as string), 'utf8');
  const used = new Set(text.match(/\b(?:forge|asn1)\.[A-Za-z0-9]+/g));
  t.same([...used].sort(), [
    'asn1.Class',
    'asn1.Type',
    'asn1.create',
    'asn1.dateToGeneralizedTime',
    'asn1.dateToUtcTime',
    'asn1.oidToDer',
    'asn1.toDer',
    'forge.asn1',
  ]);
});
