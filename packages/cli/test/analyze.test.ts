import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Output, run } from '../src/index.ts';
import { linesOf } from '../src/lines.ts';

const main = join(import.meta.dirname, '..', 'src', 'main.ts');

interface Result {
  readonly code: number;
  readonly out: string;
  readonly notes: string;
}

async function inmesh(args: readonly string[], stdin: readonly (string | Uint8Array)[] = []): Promise<Result> {
  const out: string[] = [];
  const notes: string[] = [];
  const output: Output = { line: (text) => void out.push(text), note: (text) => void notes.push(text) };
  async function* input(): AsyncGenerator<string | Uint8Array> {
    yield* stdin;
  }
  const code = await run(args, output, { env: {}, cwd: '/', stdin: input() });
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

interface Answer {
  readonly id: unknown;
  readonly valid?: boolean;
  readonly error?: string;
  readonly messages?: readonly { readonly code: string; readonly class: string; readonly severity: string }[];
}

async function answers(lines: readonly string[], args: readonly string[] = []): Promise<readonly Answer[]> {
  const { code, out } = await inmesh(['analyze', '--stdin', ...args], [lines.map((line) => `${line}\n`).join('')]);
  if (code !== 0) throw new Error(`exit code ${code}`);
  return out === '' ? [] : out.split('\n').map((line) => JSON.parse(line));
}

const peers = (mode: string): object => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: { name: 'peers', namespace: 'shop' },
  spec: { mtls: { mode } },
});
const ask = (id: unknown, ...resources: readonly unknown[]): string => JSON.stringify({ id, config: { resources } });

const good = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: peers, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;
const bad = good.replace('STRICT', 'STRICKT');
const refused = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {targetRefs: [{kind: Service, name: a}], rules: [{}]}
`;
const folder = (t: Test, files: Record<string, string>): string => t.testdir(files);

t.test('--stdin: one answer a line, in the order of the questions', async (t) => {
  const said = await answers([ask('a', peers('STRICT')), ask(2, peers('NEVER')), ask({ n: 3 })]);
  t.same(
    said.map(({ id, valid }) => [id, valid]),
    [
      ['a', true],
      [2, false],
      [{ n: 3 }, true],
    ],
  );
  t.same(said[0]?.messages, []);
  t.match(said[1]?.messages, [
    {
      code: 'IST0106',
      class: 'schema',
      severity: 'error',
      resource: 'PeerAuthentication shop/peers',
      field: 'spec.mtls.mode',
      value: '"NEVER"',
      link: 'docs/reference/analysis.md#ist0106',
    },
  ]);
});

t.test('--stdin: a bad line is answered with an error, and the rest goes on', async (t) => {
  const said = await answers([
    '{"id":',
    '[]',
    '{"id":"x"}',
    '{"id":"y","config":{}}',
    '{"id":"z","config":{"resources":["a: [1"]}}',
    '',
    ask('end', peers('STRICT')),
  ]);
  t.match(said, [
    { id: null, error: /^is not JSON/ },
    { id: null, error: 'must be a JSON object' },
    { id: 'x', error: /config/ },
    { id: 'y', error: /config\.resources must be a list/ },
    { id: 'z', error: /config\.resources\[0\] is not YAML/ },
    { id: 'end', valid: true },
  ]);
  t.equal(said.length, 6, 'an empty line is no question');
});

t.test('--stdin: what is valid for Istio and cannot be enforced is valid, with a message', async (t) => {
  const [said] = await answers([JSON.stringify({ id: 1, config: { resources: [refused] } })]);
  t.equal(said?.valid, true);
  t.ok(said?.messages?.some(({ code, severity }) => code === 'INMESH0002' && severity === 'error'));
});

t.test('--stdin: resources that are no objects are invalid, not a crash', async (t) => {
  const said = await answers([ask(1, 7), ask(2, null, []), ask(3, {}), ask(4, { apiVersion: 'v1', kind: 'List' })]);
  t.same(
    said.map(({ valid }) => valid),
    [false, false, false, false],
  );
});

t.test('--stdin: a MeshConfig may stand beside the resources', async (t) => {
  const line = (rootNamespace: string): string =>
    JSON.stringify({
      id: 1,
      config: {
        mesh: { rootNamespace },
        resources: [
          peers('STRICT'),
          `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: all, namespace: config}, spec: {selector: {matchLabels: {a: b}}}}`,
        ],
      },
    });
  const said = await answers([line('config'), line('other')]);
  const refusals = said.map(({ messages = [] }) => messages.filter(({ code }) => code === 'INMESH0002').length);
  t.same(refusals, [1, 0], 'only in the root namespace a selector has no effect');
});

t.test('--stdin takes no path', async (t) => {
  const { code, notes } = await inmesh(['analyze', '--stdin', 'mesh']);
  t.equal(code, 2);
  t.match(notes, /--stdin takes no path, got mesh/);
});

t.test('lines: split anywhere, also inside a character and a line end', async (t) => {
  const bytes = Buffer.from('{"ä":1}\r\n\n{"b":2}');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const lines: string[] = [];
    async function* input(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, cut);
      yield bytes.subarray(cut);
    }
    for await (const line of linesOf(input())) lines.push(line);
    t.same(lines, ['{"ä":1}', '', '{"b":2}'], `cut at ${cut}`);
  }
});

t.test('text: findings with place, code and severity, then the report; exit code by the threshold', async (t) => {
  const path = folder(t, { 'a.yaml': bad, 'b.yaml': refused });
  const { code, out } = await inmesh(['analyze', path]);
  t.equal(code, 1);
  t.match(out, /a\.yaml:5:\d+: error IST0106: PeerAuthentication shop\/peers: spec\.mtls\.mode: must be one of/);
  t.match(out, /b\.yaml:5:\d+: error INMESH0002: AuthorizationPolicy shop\/ask: spec\.targetRefs.*: is refused/);
  t.match(out, /✗ not valid for Istio; \d errors?$/);
  const fine = await inmesh(['analyze', folder(t, { 'a.yaml': good })]);
  t.equal(fine.code, 0);
  t.match(fine.out, /✓ valid for Istio$/);
});

t.test('--failure-threshold: which severity makes the command fail', async (t) => {
  const path = folder(t, { 'a.yaml': `${good}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n` });
  t.equal((await inmesh(['analyze', path])).code, 0);
  t.equal((await inmesh(['analyze', '--failure-threshold', 'Warning', path])).code, 0);
  t.equal((await inmesh(['analyze', '--failure-threshold', 'info', path])).code, 1);
  const wrong = await inmesh(['analyze', '--failure-threshold', 'fatal', path]);
  t.equal(wrong.code, 2);
  t.match(wrong.notes, /--failure-threshold must be one of error, warning, info, got "fatal"/);
});

t.test('--suppress: leaves out a code, everywhere or for some resources', async (t) => {
  const path = folder(t, { 'a.yaml': bad });
  const cases: readonly (readonly [rule: string, code: number])[] = [
    ['IST0106', 0],
    ['IST0106=PeerAuthentication shop/peers', 0],
    ['IST0106=PeerAuthentication shop/*', 0],
    ['IST0106=*shop/p*', 0],
    ['IST0106=PeerAuthentication other/*', 1],
    ['IST0106=PeerAuthentication shop/peer', 1],
    ['IST0101', 1],
  ];
  for (const [rule, code] of cases) t.equal((await inmesh(['analyze', '--suppress', rule, path])).code, code, rule);
});

t.test('--output json: for programs', async (t) => {
  const path = folder(t, { 'a.yaml': bad, 'b.yaml': good.replace('name: peers', 'name: others') });
  const { code, out } = await inmesh(['analyze', '--output', 'json', path]);
  t.equal(code, 1);
  const result = JSON.parse(out);
  t.match(result, {
    valid: false,
    messages: [{ code: 'IST0106', line: 5, file: /a\.yaml$/ }],
    entries: [{ status: 'enforced', field: 'spec.mtls.mode', at: { name: 'others' } }],
  });
  t.equal(result.files.length, 2);
});

t.test('--output sarif: SARIF 2.1.0 with rules, levels and places', async (t) => {
  const path = folder(t, { 'a b.yaml': bad, 'broken.yaml': 'a: [' });
  const { code, out } = await inmesh(['analyze', '--output', 'sarif', path]);
  t.equal(code, 1);
  const log = JSON.parse(out);
  t.equal(log.version, '2.1.0');
  t.match(log.$schema, /sarif-2\.1\.0\.json$/);
  const [{ tool, results }] = log.runs;
  t.equal(tool.driver.name, 'inmesh');
  for (const { id, shortDescription, defaultConfiguration } of tool.driver.rules) {
    t.match(id, /^(IST|INMESH)\d{4}$/);
    t.equal(typeof shortDescription.text, 'string');
    t.match(defaultConfiguration.level, /^(error|warning|note)$/);
  }
  t.ok(results.length >= 2);
  for (const { ruleId, ruleIndex, level, message, locations } of results) {
    t.equal(tool.driver.rules[ruleIndex].id, ruleId);
    t.match(level, /^(error|warning|note)$/);
    t.equal(typeof message.text, 'string');
    const [{ physicalLocation }] = locations;
    t.match(physicalLocation.artifactLocation.uri, /^[^ \\]+\.yaml$/, 'a URI reference without spaces');
    t.ok(physicalLocation.region.startLine >= 1 && physicalLocation.region.startColumn >= 1);
  }
  t.ok(results.some(({ ruleId }: { ruleId: string }) => ruleId === 'INMESH0001'));
});

t.test('--output: nothing else', async (t) => {
  const { code, notes } = await inmesh(['analyze', '--output', 'xml', folder(t, { 'a.yaml': good })]);
  t.equal(code, 2);
  t.match(notes, /--output must be one of text, json, sarif, got "xml"/);
});

t.test('as a program: thousands of lines through a pipe, answered in order', async (t) => {
  const child = spawn(process.execPath, ['--conditions=@inmesh/source', main, 'analyze', '--stdin'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  const count = 3_000;
  for (let id = 0; id < count; id++) child.stdin.write(`${ask(id, peers(id % 3 === 0 ? 'NEVER' : 'STRICT'))}\n`);
  child.stdin.end('no json');
  const [code] = await once(child, 'close');
  t.equal(code, 0);
  const said = out
    .trimEnd()
    .split('\n')
    .map((line): Answer => JSON.parse(line));
  t.equal(said.length, count + 1);
  t.ok(said.slice(0, count).every(({ id, valid }, index) => id === index && valid === (index % 3 !== 0)));
  t.match(said[count]?.error, /^is not JSON/);
});

t.test('as a program: exit code and standard output of a finding', async (t) => {
  const path = folder(t, { 'a.yaml': bad });
  const child = spawn(process.execPath, ['--conditions=@inmesh/source', main, 'analyze', path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  const [code] = await once(child, 'close');
  t.equal(code, 1);
  t.match(out, /error IST0106: PeerAuthentication shop\/peers: spec\.mtls\.mode/);
});
