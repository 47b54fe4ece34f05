import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { run } from '../../packages/cli/src/index.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { root } from '../support/source-files.ts';
import { type Fence, fencesOf } from './fences.ts';

const page = 'docs/policy-cookbook.md';
const lines = readFileSync(`${root}${page}`, 'utf8').split('\n');
const headings = lines.flatMap((line, at) => (line.startsWith('## ') ? [{ at: at + 1, title: line.slice(3) }] : []));

interface Expectation {
  readonly config?: object;
  readonly direction?: string;
  readonly workload?: object;
  readonly request: object;
  readonly expect: Readonly<Record<string, unknown>>;
}

/** `null` in a table: the field is absent. */
const absent = (value: unknown): unknown =>
  value === null
    ? undefined
    : typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value as object).map(([name, each]) => [name, absent(each)]))
      : value;

async function answersTo(questions: readonly object[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const out: string[] = [];
  const stdin = async function* () {
    for (const question of questions) yield `${JSON.stringify(question)}\n`;
  };
  const output = { line: (line: string) => void out.push(line), note: (line: string) => t.fail(line) };
  // As requests are decided.
  const code = await run(['explain', '--stdin', '--paths', 'views'], output, { env: {}, cwd: '/', stdin: stdin() });
  t.equal(code, 0);
  return out.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}

const web = { namespace: 'shop', labels: { app: 'web' } };
const fences = fencesOf(page);
const inSection = ({ line }: Fence, index: number): boolean =>
  line > (headings[index]?.at ?? 0) && line < (headings[index + 1]?.at ?? Number.POSITIVE_INFINITY);

for (const [index, { title }] of headings.entries()) {
  t.test(`recipe "${title}": every expectation holds`, async (t) => {
    const own = fences.filter((fence) => inSection(fence, index));
    const yaml = own.filter(({ language }) => language === 'yaml').map(({ text }) => text);
    const table = own.filter(({ language }) => language === 'jsonl').flatMap(({ text }) => text.trim().split('\n'));
    t.ok(yaml.length > 0 && table.length > 1, 'has YAML and a table');
    const resources = parseYaml(yaml.join('---\n'), page).documents.map(({ value }) => value);
    const expectations = table.map((line) => JSON.parse(line) as Expectation);
    const answers = await answersTo(
      expectations.map(({ config, expect: _, ...line }, id) => ({
        id,
        direction: 'inbound',
        workload: web,
        ...line,
        config: { resources, ...config },
      })),
    );
    t.equal(answers.length, expectations.length);
    for (const [id, { expect }] of expectations.entries()) {
      t.match(answers[id], { ...(absent(expect) as object), error: undefined }, table[id] ?? '');
    }
    const decisions = new Set(
      answers.map(({ decision, shadow, audit, custom }) => JSON.stringify([decision, shadow, audit, custom])),
    );
    t.ok(decisions.size > 1, 'the table shows both sides');
  });
}

t.test('there are recipes enough, and the page is linked', async (t) => {
  t.ok(headings.length >= 12);
  t.ok(existsSync(`${root}docs/testing-policies.md`));
  t.match(readFileSync(`${root}docs/README.md`, 'utf8'), /\(policy-cookbook\.md\)/);
});
