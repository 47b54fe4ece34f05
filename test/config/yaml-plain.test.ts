import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import type { Path } from '../../src/config/document.ts';
import { parseFully, parseYaml } from '../../src/config/yaml.ts';
import { readPlain } from '../../src/config/yaml-plain.ts';
import { seededRandom } from '../../src/lib/random.ts';

const seeds: readonly string[] = [
  'a: 1\nb:\n- x\n- y: 2\n  z: [1, "a", {q: w}]\nc:\n  - - p\n    - r\n  - s\nd: "x # y"\ne: \'q\' # c\nf: a b  c\ng: {}\nh: []\n',
  '---\nspec:\n  hosts: [a.b, "*.c"]\n  ports:\n    - number: 80\n      name: http\n  map: {a: b, "c d": 1.5, e: -3}\n  t: true\n  n: ~\n---\n# only\n---\nx: 1s\ny: 10.0.0.1/8\n',
  '# head\n\nkey-1/a.b_c: v\n"quoted key": \'v\'\nlist:\n\n# between\n- # below\n  - 1\n- a: {b: [c, {d: e}]}\n  f:\n    g: h:i\n--- # next\nz: -\u0031.5e3\n',
];

/** How two readings of a text differ; nothing when they do not, or when the text is not plain. */
function difference(text: string): string | undefined {
  if (readPlain(text) === undefined) return undefined;
  const fast = parseYaml(text).documents;
  const full = parseFully(text);
  if (full.problems.length > 0) return `is wrong: ${full.problems[0]?.message}`;
  if (fast.length !== full.documents.length) return 'has another number of documents';
  for (const [index, document] of fast.entries()) {
    const other = full.documents[index];
    if (!isDeepStrictEqual(document.value, other?.value)) return `document ${index} has another value`;
    const walk = (value: unknown, path: Path): string | undefined => {
      for (const key of [false, true]) {
        if (!isDeepStrictEqual(document.locate(path, key), other?.locate(path, key)))
          return `place of ${path.join('.')}`;
      }
      if (typeof value !== 'object' || value === null) return undefined;
      for (const [name, inner] of Object.entries(value)) {
        const found = walk(inner, [...path, Array.isArray(value) ? Number(name) : name]);
        if (found !== undefined) return found;
      }
      return isDeepStrictEqual(document.locate([...path, 'nowhere']), other?.locate([...path, 'nowhere']))
        ? undefined
        : `nearest place below ${path.join('.')}`;
    };
    const found = walk(document.value, []);
    if (found !== undefined) return found;
  }
  return undefined;
}

t.test('configuration as people write it is plain, and is read as by a parser of all of YAML', async (t) => {
  for (const seed of seeds) {
    t.ok(readPlain(seed) !== undefined, 'is plain');
    t.equal(difference(seed), undefined);
  }
  const examples = join(import.meta.dirname, '..', '..', 'examples');
  const files = readdirSync(examples, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yaml'));
  t.ok(files.length > 0);
  for (const file of files) t.equal(difference(readFileSync(join(examples, file), 'utf8')), undefined, file);
});

const others: Readonly<Record<string, string>> = {
  'an anchor': 'a: &x 1\nb: *x\n',
  'a tag': 'a: !!str 1\n',
  'a block of text': 'a: |\n  b\n',
  'a folded text': 'a: >\n  b\n',
  'text on two lines': 'a: b\n  c\n',
  'quotes over two lines': 'a: "b\n  c"\n',
  'an escape': 'a: "\\n"\n',
  'a quote in quotes': "a: 'b''c'\n",
  'brackets over two lines': 'a: [b,\n  c]\n',
  'a comma at the end': 'a: [b,]\n',
  'a key without a value': 'a:\n',
  'an item without a value': 'a:\n-\nb: c\n',
  'a key twice': 'a: 1\na: 2\n',
  'a key that every object has': 'constructor: 1\n',
  'the prototype': '__proto__: 1\n',
  'a key that is a number': 'a: {80: b}\n',
  'a question mark': '? a\n: b\n',
  'a directive': '%YAML 1.2\n---\na: b\n',
  'the end of a document': 'a: b\n...\n',
  'a list at the top': '- a\n',
  'a text at the top': 'a\n',
  'a value beside the marker': '--- a\n',
  'a hexadecimal number': 'a: 0x10\n',
  'an octal number': 'a: 0o7\n',
  'a number with a plus': 'a: +1\n',
  'a number with a leading zero': 'a: 007\n',
  infinity: 'a: .inf\n',
  'a tab': 'a:\tb\n',
  'a carriage return': 'a: b\r\n',
  'more than ASCII': 'a: ü\n',
  'a colon in text': 'a: b: c\n',
  'a colon at the end of text': 'a: b:\n',
  'a wrong indentation': 'a:\n    b: c\n  d: e\n',
  'a merge': 'a:\n  <<: b\n',
  'an indicator': 'a: @b\n',
  'a reserved character': 'a: `b\n',
  'nesting without end': `a: ${'['.repeat(80)}${']'.repeat(80)}\n`,
};

t.test('of anything else it says nothing', async (t) => {
  for (const [what, text] of Object.entries(others)) t.equal(readPlain(text), undefined, what);
});

t.test('nothing at all is plain, too', async (t) => {
  for (const text of ['', '\n', '# comment', '---\n---\n', '   ']) t.same(readPlain(text)?.documents, [], text);
});

t.test('broken text is read in the same way, or by the other parser', async (t) => {
  const scraps = [
    '',
    ' ',
    '\n',
    '  ',
    '- ',
    ': ',
    ':',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    ' #',
    '-',
    '---\n',
    '0x1',
    '.5',
  ];
  scraps.push('+1', 'null', '~', 'a', 'b: c\n', '\n\n', '\t', '? ', '&a', '%', '-0', '<<', '*', '\n# c\n', '  - ');
  const random = seededRandom(20_261_121);
  const pick = (below: number): number => Math.floor(random() * below);
  let plain = 0;
  for (let i = 0; i < 6_000; i++) {
    let text = seeds[i % seeds.length] as string;
    for (let k = pick(3); k >= 0; k--) {
      const at = pick(text.length + 1);
      const length = pick(6);
      const scrap = pick(3) > 0 ? (scraps[pick(scraps.length)] as string) : text.slice(at, at + length).repeat(2);
      text = text.slice(0, at) + scrap + text.slice(at + (pick(2) === 0 ? 0 : length));
    }
    if (readPlain(text) === undefined) continue;
    plain++;
    const found = difference(text);
    if (found !== undefined) t.fail(`${found}\n${text}`);
  }
  t.ok(plain > 1_000, `${plain} of 6,000 were still plain`);
});
