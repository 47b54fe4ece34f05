import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr } from 'inmesh/identity';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { withFolderLock } from '../src/folder-lock.ts';
import { type Authority, createAuthority, initAuthority, openAuthority } from '../src/index.ts';
import { commit, isInterrupted, recover } from '../src/journal.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const unavailable = { code: 'ERR_MESH_CA', reason: 'unavailable' };

const contents = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

t.test('files change together, and nothing is left of it', async (t) => {
  const folder = t.testdir({ a: 'old a', b: 'old b', gone: 'old' });
  commit(
    folder,
    new Map([
      ['a', 'new a'],
      ['c', 'new c'],
      ['gone', undefined],
    ]),
  );
  t.same(contents(folder), { a: 'new a', b: 'old b', c: 'new c' });
  t.notOk(isInterrupted(folder));
});

/** Every state that a crash can leave behind, in the order in which they come up. */
const crashes: readonly (readonly [string, (folder: string) => void, 'before' | 'after'])[] = [
  ['with one draft written', (folder) => writeFileSync(join(folder, 'a.draft'), 'new a'), 'before'],
  [
    'with all drafts written',
    (folder) => {
      writeFileSync(join(folder, 'a.draft'), 'new a');
      writeFileSync(join(folder, 'b.draft'), 'new b');
    },
    'before',
  ],
  [
    'with the journal written',
    (folder) => {
      writeFileSync(join(folder, 'a.draft'), 'new a');
      writeFileSync(join(folder, 'b.draft'), 'new b');
      writeFileSync(join(folder, 'journal.json'), '{"version":1,"renamed":["a","b"],"removed":["gone"]}');
    },
    'after',
  ],
  [
    'with one file renamed',
    (folder) => {
      writeFileSync(join(folder, 'a'), 'new a');
      writeFileSync(join(folder, 'b.draft'), 'new b');
      writeFileSync(join(folder, 'journal.json'), '{"version":1,"renamed":["a","b"],"removed":["gone"]}');
    },
    'after',
  ],
  [
    'with everything done but the journal removed',
    (folder) => {
      writeFileSync(join(folder, 'a'), 'new a');
      writeFileSync(join(folder, 'b'), 'new b');
      rmSync(join(folder, 'gone'));
      writeFileSync(join(folder, 'journal.json'), '{"version":1,"renamed":["a","b"],"removed":["gone"]}');
    },
    'after',
  ],
];
for (const [when, crash, outcome] of crashes) {
  t.test(`a crash ${when} leaves all files as they were ${outcome} the change`, async (t) => {
    const folder = t.testdir({ a: 'old a', b: 'old b', gone: 'old' });
    crash(folder);
    recover(folder);
    recover(folder);
    const { a, b, gone, 'journal.json': journal } = contents(folder);
    const before = { a: 'old a', b: 'old b', gone: 'old' };
    const after = { a: 'new a', b: 'new b', gone: undefined };
    t.same({ a, b, gone }, outcome === 'before' ? before : after);
    t.equal(journal, undefined);
  });
}

t.test('a journal that names other files than its own is not followed', async (t) => {
  for (const text of [
    '',
    '{}',
    '{"version":2,"renamed":[],"removed":[]}',
    '{"version":1,"renamed":["../a"],"removed":[]}',
    '{"version":1,"renamed":[],"removed":["/etc/passwd"]}',
    '{"version":1,"renamed":[5],"removed":[]}',
  ]) {
    const folder = t.testdir({ 'journal.json': text });
    t.throws(() => recover(folder), { ...unavailable, message: /is not a journal/ }, text);
  }
});

/** What an authority shows to the world. */
const shown = (authority: Authority) => ({
  phase: authority.status().rotation?.phase,
  roots: authority.trustBundles.get('cluster.local')?.length,
  chain: authority.signCsr(createCsr(web, makeKey()), web).certificateChainPem.match(/BEGIN/g)?.length,
  revoked: authority.status().revoked.certificates,
});

const serial = (authority: Authority): string => authority.signCsr(createCsr(web, makeKey()), web).serial;
const steps: readonly (readonly [string, (authority: Authority) => void, (authority: Authority) => void])[] = [
  ['prepare', () => {}, (authority) => authority.rotation.prepare()],
  ['activate', ({ rotation }) => rotation.prepare(), ({ rotation }) => rotation.activate()],
  [
    'finish',
    ({ rotation }) => {
      rotation.prepare();
      rotation.activate();
    },
    ({ rotation }) => rotation.finish({ force: true }),
  ],
  ['abort', ({ rotation }) => rotation.prepare(), ({ rotation }) => rotation.abort({ force: true })],
  ['revoke', () => {}, (authority) => void authority.revoke({ serial: serial(authority) })],
];
for (const [name, before, step] of steps) {
  t.test(`a crash anywhere in ${name} leaves the authority before it or after it, and able to go on`, async (t) => {
    const base = t.testdir();
    const dir = join(base, 'ca');
    before(initAuthority(dir));
    cpSync(dir, join(base, 'before'), { recursive: true });
    step(openAuthority(dir));
    const states = { before: shown(openAuthority(join(base, 'before'))), after: shown(openAuthority(dir)) };
    t.notSame(states.before, states.after);
    const names = new Set([...readdirSync(join(base, 'before')), ...readdirSync(dir)]);
    const changed = [...names].filter((file) => {
      const read = (at: string) => (existsSync(join(at, file)) ? readFileSync(join(at, file), 'utf8') : undefined);
      return /\.(pem|json)$/.test(file) && read(join(base, 'before')) !== read(dir);
    });
    const renamed = changed.filter((file) => existsSync(join(dir, file)));
    const removed = changed.filter((file) => !existsSync(join(dir, file)));
    // Crash after so many of the operations of a commit: drafts, journal, renames, removals.
    const count = renamed.length * 2 + removed.length + 1;
    for (let done = 0; done <= count; done++) {
      const at = join(base, `crash-${done}`);
      cpSync(join(base, 'before'), at, { recursive: true });
      // What is logged comes before the change.
      if (existsSync(join(dir, 'issued.jsonl'))) cpSync(join(dir, 'issued.jsonl'), join(at, 'issued.jsonl'));
      const operations = [
        ...renamed.map((file) => () => cpSync(join(dir, file), join(at, `${file}.draft`))),
        () => writeFileSync(join(at, 'journal.json'), JSON.stringify({ version: 1, renamed, removed })),
        ...renamed.map((file) => () => renameSync(join(at, `${file}.draft`), join(at, file))),
        ...removed.map((file) => () => rmSync(join(at, file))),
      ];
      for (const operation of operations.slice(0, done)) operation();
      const reopened = openAuthority(at);
      t.same(shown(reopened), done <= renamed.length ? states.before : states.after, `after ${done} of ${count}`);
      rmSync(at, { recursive: true });
    }
  });
}

t.test('a crash while an authority is made leaves the whole of it or nothing', async (t) => {
  const base = t.testdir();
  initAuthority(join(base, 'whole'));
  const files = readdirSync(join(base, 'whole')).filter((name) => /\.(pem|json)$/.test(name));
  const at = join(base, 'at');
  for (const name of files) cpSync(join(base, 'whole', name), join(at, `${name}.draft`), { recursive: true });
  t.throws(() => openAuthority(at), { ...unavailable, message: /holds no certificate authority/ });
  writeFileSync(join(at, 'journal.json'), JSON.stringify({ version: 1, renamed: files, removed: [] }));
  t.equal(openAuthority(at).rootPem, openAuthority(join(base, 'whole')).rootPem);
  const again = join(base, 'again');
  cpSync(join(base, 'whole', 'root.pem'), join(again, 'root.pem.draft'), { recursive: true });
  t.ok(createAuthority({ dir: again }), 'and can be made again');
});

t.test('a running authority keeps what it has when its folder is damaged, and says so once', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const logger = recordingLogger();
  const authority = initAuthority(dir, { logger });
  const { rootPem } = authority;
  const state = readFileSync(join(dir, 'state.json'));
  writeFileSync(join(dir, 'state.json'), '{"version":');
  for (let i = 0; i < 3; i++) t.equal(authority.rootPem, rootPem);
  t.equal(logger.messages('error').filter((text) => /cannot be read/.test(text)).length, 1);
  t.throws(() => openAuthority(dir), { ...unavailable, message: /state\.json is not the state/ });
  writeFileSync(join(dir, 'state.json'), state);
  authority.rotation.prepare();
  t.equal(authority.trustBundles.get('cluster.local')?.length, 2);
});

t.test('a lock whose holder is gone is taken over, one that is held is waited for and then respected', async (t) => {
  const folder = t.testdir();
  const lock = join(folder, 'lock');
  const clock = fakeClock();
  const { pid } = process;
  const gone = [
    { pid: 2 ** 22 + 1, host: (await import('node:os')).hostname(), id: 'x' },
    // The same number, another process: both are the first of their container.
    { pid, host: (await import('node:os')).hostname(), id: 'x' },
  ];
  for (const holder of gone) {
    writeFileSync(lock, JSON.stringify(holder));
    t.equal(
      withFolderLock(folder, clock, () => 5),
      5,
    );
    t.notOk(existsSync(lock));
  }
  writeFileSync(lock, JSON.stringify({ pid: 1, host: 'elsewhere', id: 'x' }));
  t.throws(() => withFolderLock(folder, clock, () => 5), { ...unavailable, message: /another process holds .*lock/ });
  clock.jump(60_000);
  t.equal(
    withFolderLock(folder, clock, () => 6),
    6,
    'nobody works that long',
  );
  t.throws(() =>
    withFolderLock(folder, clock, () => {
      throw new Error('inside');
    }),
  );
  t.notOk(existsSync(lock), 'released also when it fails');
});
