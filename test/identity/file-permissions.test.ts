import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { permissionWarnings } from '../../src/identity/file-permissions.ts';

t.test(
  'CFG-019 says what every user of the machine could read or replace',
  { skip: process.platform === 'win32' && 'Windows has no such modes of files' },
  async (t) => {
    const cases: readonly (readonly [string, Modes, readonly RegExp[]])[] = [
      ['kept well', { key: 0o600, root: 0o644, folder: 0o755 }, []],
      ['a group may read, as with fsGroup', { key: 0o640, root: 0o644, folder: 0o750 }, []],
      ['a key for all', { key: 0o644, root: 0o644, folder: 0o755 }, [/can read the key .*key\.pem \(mode 0644\)/]],
      [
        'roots that all can change',
        { key: 0o600, root: 0o666, folder: 0o755 },
        [/can change .*root\.pem \(mode 0666\)/],
      ],
      [
        'a folder that all can change',
        { key: 0o600, root: 0o644, folder: 0o777 },
        [/can exchange files in .*certs \(mode 0777\)/],
      ],
      ['a sticky folder', { key: 0o600, root: 0o644, folder: 0o1777 }, []],
      [
        'all at once',
        { key: 0o666, root: 0o646, folder: 0o757 },
        [/read the key/, /change .*key/, /change .*root/, /exchange/],
      ],
    ];
    for (const [what, modes, expected] of cases) {
      const folder = join(t.testdir(), 'certs');
      mkdirSync(folder);
      const [key, root] = [join(folder, 'key.pem'), join(folder, 'root.pem')];
      for (const [file, mode] of [
        [key, modes.key],
        [root, modes.root],
        [folder, modes.folder],
      ] as const) {
        if (file !== folder) writeFileSync(file, 'x');
        chmodSync(file, mode);
      }
      const messages = (await permissionWarnings({ key, all: [key, root] })).map(({ message }) => message);
      t.equal(messages.length, expected.length, `${what}: ${messages.join('; ')}`);
      for (const [i, pattern] of expected.entries()) t.match(messages[i], pattern, what);
    }
  },
);

t.test('of files that are gone again it says nothing', async (t) => {
  const key = join(t.testdir(), 'gone', 'key.pem');
  t.same(await permissionWarnings({ key, all: [key] }), []);
});

interface Modes {
  readonly key: number;
  readonly root: number;
  readonly folder: number;
}
