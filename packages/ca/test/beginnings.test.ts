import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { createAuthority, initAuthority } from '../src/index.ts';

/** A clock that lets another process make its authority in the folder, as soon as this one begins with its keys. */
const overtaken = (dir: string) => {
  const clock = fakeClock();
  let rootPem = '';
  let begun = false;
  return {
    /** The root that the other one made. */
    root: () => rootPem,
    clock: {
      ...clock,
      wallNow: () => {
        if (!begun) {
          begun = true;
          ({ rootPem } = createAuthority({ dir, clock }));
        }
        return clock.wallNow();
      },
    },
  };
};

t.test('of several processes that begin with one empty folder the first makes the authority for all', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const { clock, root } = overtaken(dir);
  const authority = createAuthority({ dir, clock });
  t.equal(authority.rootPem, root());
});

t.test('init does not replace an authority that another process makes meanwhile', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const { clock, root } = overtaken(dir);
  t.throws(() => initAuthority(dir, { clock }), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /holds a certificate authority already/,
  });
  t.equal(createAuthority({ dir }).rootPem, root());
});

const noLimits = spawnSync('bash', ['-c', 'ulimit -f 4']).status === 0 ? false : 'sizes of files cannot be limited';

t.test('a file of which a part fits only is not taken for written', { skip: noLimits }, async (t) => {
  const folder = t.testdir();
  const module = JSON.stringify(new URL('../src/files.ts', import.meta.url).href);
  const path = join(folder, 'large');
  writeFileSync(
    join(folder, 'write.mjs'),
    `import { writePrivately } from ${module};
     try { writePrivately(${JSON.stringify(path)}, 'x'.repeat(100_000)); console.log('written'); }
     catch (error) { console.log(error.code); }`,
  );
  const command = `ulimit -f 4; exec "${process.execPath}" --conditions=@inmesh/source "${join(folder, 'write.mjs')}"`;
  t.match(spawnSync('bash', ['-c', command], { encoding: 'utf8' }).stdout, /^(EFBIG|ENOSPC)\n$/);
  t.notOk(existsSync(path), 'and not in the place of the old one');
});
