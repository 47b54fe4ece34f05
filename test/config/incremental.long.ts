import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { type CompileResult, compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { differenceOf, type Files, newFiles, withRandomEdit } from './incremental-support.ts';

const workload = {
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: { app: 'web' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

interface State {
  readonly files: Files;
  readonly parsed: ReadonlyMap<string, ReturnType<typeof parseYaml>>;
  readonly snapshot: Snapshot | undefined;
}

/** As the file source does it. */
function step(before: State, files: Files): { readonly state: State; readonly result: CompileResult } {
  const parsed = new Map(
    Object.entries(files).map(([name, documents]) => {
      const text = documents.join('---\n');
      return [name, parseYaml(text, name, before.parsed.get(name)?.documents)];
    }),
  );
  const documents = [...parsed.values()].flatMap((each) => each.documents);
  const options = { workload, trustDomainIsDefault: true };
  const result = compile(
    documents,
    before.snapshot === undefined ? options : { ...options, previous: before.snapshot },
  );
  return { state: { files, parsed, snapshot: result.ok ? result.snapshot : before.snapshot }, result };
}

const nothing: State = { files: {}, parsed: new Map(), snapshot: undefined };

t.test('after any edits, what is compiled anew is what a first compilation makes of the same files', async (t) => {
  let accepted = 0;
  let refused = 0;
  let quick = 0;
  for (let seed = 1; seed <= 250; seed++) {
    const random = seededRandom(seed);
    let state = step(nothing, newFiles(random)).state;
    for (let edit = 1; edit <= 8; edit++) {
      const { files, what } = withRandomEdit(state.files, random);
      const warm = step(state, files);
      const cold = step(nothing, files);
      const difference = differenceOf(warm.result, cold.result);
      if (difference !== undefined) {
        t.fail(`seed ${seed}, edit ${edit} (${what}): ${difference}`, { files });
        return;
      }
      // Where only rules changed, the rest is not even looked at.
      if (warm.result.ok && warm.result.snapshot.wildcardHosts === state.snapshot?.wildcardHosts) quick++;
      if (warm.result.ok) accepted++;
      else refused++;
      state = warm.state;
    }
  }
  t.ok(accepted > 1_000, `${accepted} were accepted`);
  t.ok(refused > 50, `${refused} were refused`);
  t.ok(quick > 100, `${quick} were small changes`);
});

t.test('what did not change keeps its identity, documents and resources included', async (t) => {
  const random = seededRandom(7);
  const files = newFiles(random);
  const first = step(nothing, files);
  const again = step(first.state, files);
  t.ok(first.result.ok && again.result.ok);
  if (!first.result.ok || !again.result.ok) return;
  const [a, b] = [first.result.snapshot, again.result.snapshot];
  for (const [name, host] of a.hosts) t.equal(b.hosts.get(name), host, name);
  for (const [name, cluster] of a.clusters) t.equal(b.clusters.get(name), cluster, name);
  t.ok(a.hosts.size > 3 && a.clusters.size > 3);
  t.ok(isDeepStrictEqual(a, b));
});

t.test('a document keeps its identity where its text and its place stay, and nowhere else', async (t) => {
  const documents = ['a: 1\n', 'b: 2\n', 'c: 3\n'];
  const text = (list: readonly string[]): string => list.join('---\n');
  const before = parseYaml(text(documents), 'x.yaml').documents;
  const same = (list: readonly string[], file = 'x.yaml'): readonly boolean[] =>
    parseYaml(text(list), file, before).documents.map((each) => before.includes(each));
  t.same(same(documents), [true, true, true]);
  t.same(same(['a: 1\n', 'b: 3\n', 'c: 3\n']), [true, false, true]);
  t.same(same(['a: 1\n', 'b: 2\nd: 4\n', 'c: 3\n']), [true, false, false], 'lines moved');
  t.same(same(['b: 2\n', 'c: 3\n']), [false, false], 'another place');
  t.same(same(documents, 'y.yaml'), [false, false, false], 'another file');
  const [, moved] = parseYaml(text(['a: 1\nz: 1\n', 'b: 2\n']), 'x.yaml', before).documents;
  t.same(moved?.locate(['b']), { line: 4, column: 4 });
  t.same(before[1]?.locate(['b']), { line: 3, column: 4 });
});
