import { mkdir, readdir, rename, rm, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { loadConfigFile, readConfigPath } from '../../src/config/config-files.ts';
import { fileSource } from '../../src/config/file-source.ts';
import { describeProblem } from '../../src/config/problem.ts';
import { createConfigStore } from '../../src/config/store.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { advanceUntil } from '../support/upstream.ts';
import { resourceYaml, serviceYaml, web } from './support.ts';
import { flipAllTheTime, watch } from './watched.ts';

t.test('a folder is read with its sub-folders, in all formats, without temporary files', async (t) => {
  const folder = t.testdir({
    'a.yaml': serviceYaml('a'),
    'b.yml': serviceYaml('b'),
    'c.json': JSON.stringify({
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'c', namespace: 'shop' },
      spec: { hosts: ['c.example.com'], resolution: 'DNS', ports: [{ number: 80, name: 'http' }] },
    }),
    sub: { deeper: { 'd.YAML': serviceYaml('d') } },
    '.hidden.yaml': 'not: [valid',
    '.git': { 'x.yaml': 'not: [valid' },
    '#a.yaml#': 'not: [valid',
    'a.yaml~': 'not: [valid',
    'a.yaml.swp': 'not: [valid',
    'README.md': '# not configuration',
  });
  t.same(await watch(t, folder).next(), ['update a b c d']);
});

t.test('a single file is read whatever its name is', async (t) => {
  const folder = t.testdir({ 'mesh.conf': serviceYaml('a') });
  t.same(await watch(t, join(folder, 'mesh.conf')).next(), ['update a']);
});

t.test('changes, new files and removed files are applied; nothing else is said', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a') });
  const watched = watch(t, folder);
  t.same(await watched.next(), ['update a']);
  t.same(await watched.quiet(), []);
  await writeFile(join(folder, 'b.yaml'), serviceYaml('b'));
  t.same(await watched.next(), ['update a b']);
  await writeFile(join(folder, 'a.yaml'), serviceYaml('changed'));
  t.same(await watched.next(), ['update b changed']);
  await unlink(join(folder, 'a.yaml'));
  t.same(await watched.next(), ['update b']);
  await writeFile(join(folder, 'b.yaml'), serviceYaml('b'));
  t.same(await watched.quiet(), [], 'the same content again is no change');
});

t.test('CFG-014 a bad file is rejected with its place, the next good one is applied', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a'), 'b.yaml': serviceYaml('b') });
  const watched = watch(t, folder);
  await watched.next();
  await writeFile(
    join(folder, 'b.yaml'),
    resourceYaml('VirtualService', 'v', '{hosts: [a], http: [{timeout: soon, route: [{destination: {host: a}}]}]}'),
  );
  const [rejected = ''] = await watched.next();
  t.match(
    rejected,
    /^reject .*b\.yaml:5:\d+: VirtualService shop\/v: spec\.http\[0\]\.timeout: must be a duration .*, got "soon"$/,
  );
  t.same(await watched.quiet(), [], 'said once');
  await writeFile(join(folder, 'b.yaml'), 'a: [');
  t.match(await watched.next(), [/^reject .*b\.yaml:1:5: /]);
  await writeFile(join(folder, 'b.yaml'), serviceYaml('b'));
  t.same(await watched.next(), ['update a b']);
});

t.test('the last good configuration stays in force meanwhile', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a') });
  const store = createConfigStore();
  const controller = new AbortController();
  const clock = fakeClock();
  const running = fileSource(folder, { workload: web, clock }).run(store.sink, controller.signal);
  const until = (condition: () => boolean): Promise<void> => advanceUntil(clock, 20, condition);
  await until(() => store.current() !== undefined);
  const good = store.current();
  await writeFile(join(folder, 'a.yaml'), 'a: [');
  await until(() => store.problems().length > 0);
  t.equal(store.current(), good);
  await rm(folder, { recursive: true });
  await until(() => store.lostReason() !== undefined);
  t.equal(store.current(), good);
  controller.abort();
  await running;
});

t.test('what did not change keeps its identity over reloads', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a'), 'b.yaml': serviceYaml('b') });
  const watched = watch(t, folder);
  await watched.next();
  await writeFile(join(folder, 'b.yaml'), serviceYaml('c'));
  await watched.next();
  const [first, second] = watched.snapshots;
  t.ok(first?.hosts.get('a:80'));
  t.equal(first?.hosts.get('a:80'), second?.hosts.get('a:80'));
});

t.test('a missing folder is lost until it is there, and again when it goes', async (t) => {
  const folder = join(t.testdir(), 'mesh');
  const watched = watch(t, folder);
  t.match(await watched.next(), [/^lost ENOENT/]);
  t.same(await watched.quiet(), [], 'said once');
  await mkdir(folder);
  t.match(await watched.next(), [/^lost no \*\.yaml, \*\.yml or \*\.json file in /]);
  await writeFile(join(folder, 'a.yaml'), serviceYaml('a'));
  t.same(await watched.next(), ['update a']);
  await rm(folder, { recursive: true });
  t.match(await watched.next(), [/^lost /]);
  await mkdir(folder);
  await writeFile(join(folder, 'a.yaml'), serviceYaml('a'));
  const back = await watched.next();
  t.ok(back.at(-1) === 'update a' || (await watched.next()).at(-1) === 'update a', back.join(' '));
});

t.test('CFG-020 a file that is emptied while it is written is not taken for an empty configuration', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a'), 'b.yaml': serviceYaml('b') });
  const watched = watch(t, folder);
  await watched.next();
  await truncate(join(folder, 'b.yaml'));
  t.match(await watched.next(), [/^reject .*b\.yaml:1:1: is empty, as if it were being written/]);
  const text = serviceYaml('b');
  await writeFile(join(folder, 'b.yaml'), text.slice(0, text.indexOf('hosts: [') + 12));
  t.match(await watched.next(), [/^reject .*b\.yaml:\d+:\d+: /]);
  await writeFile(join(folder, 'b.yaml'), `# now complete\n${text}`);
  t.same(await watched.next(), ['update a b']);
});

t.test('CFG-020 a file that grows is read when it stands still', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a') });
  const watched = watch(t, folder);
  await watched.next();
  for (let i = 0; i < 5; i++) await writeFile(join(folder, 'a.yaml'), serviceYaml(`a${i}`));
  t.same(await watched.next(), ['update a4']);
});

t.test('CFG-021 a mounted ConfigMap: files once each, and a flip of its link is one change', async (t) => {
  const folder = t.testdir({ '..v1': { 'a.yaml': serviceYaml('a'), 'b.yaml': serviceYaml('b') } });
  await symlink('..v1', join(folder, '..data'));
  await symlink('..data/a.yaml', join(folder, 'a.yaml'));
  await symlink('..data/b.yaml', join(folder, 'b.yaml'));
  const watched = watch(t, folder);
  t.same(await watched.next(), ['update a b']);
  for (let i = 2; i < 8; i++) {
    await mkdir(join(folder, `..v${i}`));
    await writeFile(join(folder, `..v${i}`, 'a.yaml'), serviceYaml(`a${i}`));
    await writeFile(join(folder, `..v${i}`, 'b.yaml'), serviceYaml(`b${i}`));
    await symlink(`..v${i}`, join(folder, '..tmp'));
    await rename(join(folder, '..tmp'), join(folder, '..data'));
    await rm(join(folder, `..v${i - 1}`), { recursive: true });
    t.same(await watched.next(), [`update a${i} b${i}`]);
  }
});

t.test('CFG-021 a ConfigMap that flips all the time is never read half before and half after', async (t) => {
  await flipAllTheTime(t, 100);
});

t.test('links to files and folders are followed, circles are not', async (t) => {
  const folder = t.testdir({
    mesh: {},
    elsewhere: { 'a.yaml': serviceYaml('a'), sub: { 'b.yaml': serviceYaml('b') } },
  });
  await symlink('../elsewhere/a.yaml', join(folder, 'mesh', 'a.yaml'));
  await symlink('../elsewhere/sub', join(folder, 'mesh', 'sub'));
  await symlink('..', join(folder, 'elsewhere', 'sub', 'up'));
  await symlink('nowhere', join(folder, 'mesh', 'broken.yaml'));
  const { files, documents } = await readConfigPath(join(folder, 'mesh'));
  const expected = ['mesh/a.yaml', 'mesh/sub/b.yaml', 'mesh/sub/up/a.yaml'];
  t.same(
    files,
    expected.map((file) => join(folder, file)),
  );
  t.equal(documents.length, 3);
});

t.test('bytes that are not UTF-8, and files that are too large, are refused by name', async (t) => {
  const folder = t.testdir({ 'big.yaml': `${serviceYaml('big')}# ${'x'.repeat(5_000_000)}\n` });
  await writeFile(join(folder, 'bytes.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]));
  const { problems, files } = await readConfigPath(folder);
  t.match(problems.map(describeProblem), [
    /big\.yaml:1:1: ServiceEntry shop\/big: must have at most 4194304 bytes, got 5000\d{3}$/,
    /bytes\.yaml:1:1: is not UTF-8 text/,
  ]);
  t.same(
    files.map((file) => file.slice(folder.length + 1)),
    await readdir(folder),
  );
});

t.test('a file that vanishes between looking and reading is a problem, not an exception', async (t) => {
  const { problems } = await loadConfigFile({ path: join(t.testdir(), 'gone.yaml'), state: '', size: 1 });
  t.match(problems.map(describeProblem), [/gone\.yaml:1:1: cannot be read: ENOENT/]);
});

t.test('with the clock of the process, a change is seen well within a second and nothing is left behind', async (t) => {
  const folder = t.testdir({ 'a.yaml': serviceYaml('a') });
  const store = createConfigStore();
  const controller = new AbortController();
  const changed = Promise.withResolvers<void>();
  const running = fileSource(folder, { workload: web, clock: systemClock, pollMs: 10 }).run(
    store.sink,
    controller.signal,
  );
  // The timers of the source do not keep the process alive, so something else has to.
  const alive = setInterval(() => {}, 1_000);
  await store.ready;
  store.subscribe({ update: () => changed.resolve() });
  await writeFile(join(folder, 'a.yaml'), serviceYaml('b'));
  await changed.promise;
  t.ok(store.current()?.hosts.has('b:80'));
  controller.abort();
  await running;
  clearInterval(alive);
});

t.test('a source that is already over says nothing', async (t) => {
  const sink = { update: () => t.fail(), reject: () => t.fail(), lost: () => t.fail() };
  const source = fileSource(t.testdir(), { workload: web, clock: fakeClock() });
  await source.run(sink, AbortSignal.abort());
  t.match(source.name, /^file:/);
});
