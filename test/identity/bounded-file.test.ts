import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readBoundedFile } from '../../src/identity/bounded-file.ts';

const folder = t.testdir({});

t.test('files up to the limit are read, larger ones are not', async (t) => {
  for (const [size, limit] of [
    [0, 0],
    [0, 10],
    [10, 10],
    [65_536, 65_536],
    [200_000, 200_000],
    [200_001, 1_048_576],
  ] as const) {
    const path = join(folder, `${size}`);
    writeFileSync(path, 'x'.repeat(size));
    t.equal(await readBoundedFile(path, limit), 'x'.repeat(size), `${size} of ${limit}`);
    appendFileSync(path, 'y'.repeat(limit + 1 - size));
    await t.rejects(readBoundedFile(path, limit), { message: `larger than ${limit} bytes` });
  }
});

t.test('characters are whole where pieces of a file end', async (t) => {
  const text = `a${'ä'.repeat(100_000)}`;
  const path = join(folder, 'umlauts');
  writeFileSync(path, text);
  t.equal(await readBoundedFile(path, 300_000), text);
});

t.test('what cannot be read says why', async (t) => {
  await t.rejects(readBoundedFile(join(folder, 'nowhere'), 10), { code: 'ENOENT' });
  mkdirSync(join(folder, 'inner'));
  await t.rejects(readBoundedFile(join(folder, 'inner'), 10), { code: 'EISDIR' });
});

t.test(
  'files without a size are bounded, too',
  { skip: process.platform === 'linux' ? false : 'no /dev' },
  async (t) => {
    await t.rejects(readBoundedFile('/dev/zero', 100_000), { message: 'larger than 100000 bytes' });
    const pipe = join(folder, 'pipe');
    const writer = spawn('sh', ['-c', 'mkfifo "$0" && echo && head -c 150000 /dev/zero > "$0"', pipe]);
    await once(writer.stdout, 'data');
    t.equal((await readBoundedFile(pipe, 200_000)).length, 150_000, 'a pipe, which comes in pieces');
  },
);
