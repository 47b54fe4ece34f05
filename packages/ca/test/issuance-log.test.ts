import { appendFileSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { createAuthority } from '../src/index.ts';
import { fileIssuanceLog, type IssuanceEntry, memoryIssuanceLog } from '../src/issuance-log.ts';

const entry = (serial: string, notAfter = '2100-01-01T00:00:00.000Z'): IssuanceEntry => ({
  time: '2026-01-01T00:00:00.000Z',
  serial,
  subject: 'spiffe://cluster.local/web',
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter,
  keyId: 'k',
  by: 'library',
  issuer: 'i',
  root: 'r',
});
const serials = (log: { all(): Iterable<IssuanceEntry> }): string =>
  [...log.all()].map(({ serial }) => serial).join('');

t.test('every line vouches for the one before it', async (t) => {
  const path = join(t.testdir(), 'issued.jsonl');
  const log = fileIssuanceLog(path, fakeClock());
  for (const serial of 'abcdef') log.append(entry(serial));
  t.equal(serials(log), 'abcdef');
  t.same(log.check(), { entries: 6 });
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  const tampered: readonly (readonly [string, readonly string[], string])[] = [
    ['a line changed', lines.map((line, i) => (i === 2 ? line.replace('web', 'bad') : line)), 'issued.jsonl:4'],
    ['a line removed', lines.filter((_, i) => i !== 2), 'issued.jsonl:3'],
    ['the first line removed', lines.slice(1), 'issued.jsonl:1'],
    ['two lines swapped', [lines[1], lines[0], ...lines.slice(2)] as string[], 'issued.jsonl:1'],
    ['a line put in', [...lines.slice(0, 3), JSON.stringify(entry('x')), ...lines.slice(3)], 'issued.jsonl:4'],
    ['rubbish put in', [...lines.slice(0, 3), 'rubbish', ...lines.slice(3)], 'issued.jsonl:5'],
    ['a line twice', [...lines.slice(0, 3), ...lines.slice(2)], 'issued.jsonl:4'],
  ];
  for (const [what, text, brokenAt] of tampered) {
    writeFileSync(path, `${text.join('\n')}\n`);
    t.match(log.check(), { brokenAt }, what);
  }
});

t.test('goes on after a line that a crash cut off, and with lines of before there was a chain', async (t) => {
  const path = join(t.testdir(), 'issued.jsonl');
  writeFileSync(path, `${JSON.stringify(entry('a'))}\n${JSON.stringify(entry('b'))}\n`);
  fileIssuanceLog(path, fakeClock()).append(entry('c'));
  appendFileSync(path, '{"serial":"cut o');
  const log = fileIssuanceLog(path, fakeClock());
  log.append(entry('d'));
  t.equal(serials(log), 'abcd');
  t.same(log.check(), { entries: 5 });
});

t.test('two processes may write', async (t) => {
  const path = join(t.testdir(), 'issued.jsonl');
  const one = fileIssuanceLog(path, fakeClock());
  const two = fileIssuanceLog(path, fakeClock());
  for (const serial of 'abc') {
    one.append(entry(serial));
    two.append(entry(serial.toUpperCase()));
  }
  t.equal(serials(one), 'aAbBcC');
  t.same(two.check(), { entries: 6 });
});

t.test('puts a file aside when it is large, and loses nothing of it', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'issued.jsonl');
  const log = fileIssuanceLog(path, fakeClock(), 1_000);
  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  for (const serial of letters) log.append(entry(serial));
  t.ok(readdirSync(folder).length > 10, 'more than nine, so that their order is that of numbers');
  t.equal(serials(log), letters);
  t.same(log.check(), { entries: letters.length });
  t.equal(fileIssuanceLog(path, fakeClock()).recent().at(-1)?.serial, 'Z');
  writeFileSync(join(folder, 'issued-2.jsonl'), '');
  t.match(log.check(), { brokenAt: 'issued-3.jsonl:1' }, 'a file that is gone shows');
});

t.test('there may be none', async (t) => {
  const log = fileIssuanceLog(join(t.testdir(), 'issued.jsonl'), fakeClock());
  t.same([...log.all()], []);
  t.same(log.recent(), []);
  t.same(log.check(), { entries: 0 });
});

t.test('in memory, what has expired is forgotten', async (t) => {
  const clock = fakeClock(Date.parse('2026-06-01T00:00:00Z'));
  const log = memoryIssuanceLog(clock);
  log.append(entry('keep'));
  for (let i = 0; i < 5_000; i++) log.append(entry('old', '2026-05-01T00:00:00.000Z'));
  t.ok(log.recent().length < 1_500);
  t.ok([...log.all()].some(({ serial }) => serial === 'keep'));
  t.ok(log.check().entries < 1_500);
});

t.test('old files may be moved away: the next one that is put aside gets a number of its own', async (t) => {
  const folder = t.testdir();
  const log = fileIssuanceLog(join(folder, 'issued.jsonl'), fakeClock(), 1);
  for (const serial of 'abcd') log.append(entry(serial));
  rmSync(join(folder, 'issued-1.jsonl'));
  log.append(entry('e'));
  t.equal(serials(log), 'bcde');
});

t.test('who asks for what is valid is not made to read what is old', async (t) => {
  const folder = t.testdir();
  const clock = fakeClock();
  const log = fileIssuanceLog(join(folder, 'issued.jsonl'), clock, 1);
  for (const serial of 'abcd') log.append(entry(serial));
  const seconds = clock.wallNow() / 1_000;
  utimesSync(join(folder, 'issued-1.jsonl'), seconds - 7_200, seconds - 7_200);
  // The newest file counts whatever its date.
  utimesSync(join(folder, 'issued.jsonl'), seconds - 7_200, seconds - 7_200);
  const since = [...log.all(clock.wallNow() - 3_600_000)].map(({ serial }) => serial);
  t.same(since, ['b', 'c', 'd']);
  t.equal(serials(log), 'abcd');
});

t.test('a certificate is found by its serial number in old files, too', async (t) => {
  const folder = join(t.testdir(), 'ca');
  const clock = fakeClock();
  const authority = createAuthority({ dir: folder, clock });
  const old = join(folder, 'issued-1.jsonl');
  writeFileSync(old, `${JSON.stringify(entry('40ab'))}\n`);
  utimesSync(old, 1, 1);
  t.same(authority.revoke({ serial: '40:AB' }), ['40ab']);
});
