/** Longest expression that is looked at, in characters: one without an end is searched for it again and again. */
export const maxExpression = 4_096;

/**
 * Reads an expression of the Common Expression Language, as far as its grammar goes; nothing where it is none, or longer
 * than {@link maxExpression}.
 * Names and types are not looked at. Grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md
 */
export function parseCel(text: string): CelNode | undefined {
  const tokens = text.length > maxExpression ? undefined : tokensOf(text);
  if (tokens === undefined) return undefined;
  const parser = createParser(tokens);
  const node = parser.expression(0);
  return parser.atEnd() ? node : undefined;
}

/** Is a text an expression of CEL? See {@link parseCel}. */
export function isCelExpression(text: string): boolean {
  return parseCel(text) !== undefined;
}

/** A part of an expression. */
export type CelNode =
  | { readonly kind: 'literal'; readonly value: CelLiteral }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'field'; readonly of: CelNode; readonly name: string }
  | { readonly kind: 'index'; readonly of: CelNode; readonly at: CelNode }
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly of: CelNode | undefined;
      readonly given: readonly CelNode[];
    }
  | { readonly kind: 'list'; readonly items: readonly CelNode[] }
  /** A map or a message. */
  | { readonly kind: 'entries' }
  | { readonly kind: 'unary'; readonly operator: '!' | '-'; readonly of: CelNode }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: CelNode; readonly right: CelNode }
  | { readonly kind: 'choice'; readonly of: CelNode; readonly yes: CelNode; readonly no: CelNode };

export type CelLiteral =
  | { readonly type: 'string' | 'bytes'; readonly value: string }
  | { readonly type: 'int' | 'uint' | 'double'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'null'; readonly value: null };

interface Token {
  readonly kind: 'name' | 'literal' | 'operator';
  readonly text: string;
}

const space = /(?:[\s\f]|\/\/[^\n]*)+/y;
const literal =
  /(?:[rR][bB]?|[bB][rR]?)?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')|0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|[0-9]+[uU]?/y;
const name = /[_a-zA-Z][_a-zA-Z0-9]*|`[a-zA-Z0-9_./ -]+`/y;
const operator = /\|\||&&|[=!<>]=|[-+*/%<>!?:.,()[\]{}]/y;
const reserved = new Set(
  'as break const continue else for function if import let loop package namespace return var void while'.split(' '),
);

function tokensOf(text: string): readonly Token[] | undefined {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  for (;;) {
    take(space);
    if (at >= text.length) return tokens;
    const value = take(literal);
    if (value !== undefined) tokens.push({ kind: 'literal', text: value });
    else {
      const word = take(name);
      const mark = word === undefined ? take(operator) : undefined;
      if (word !== undefined) tokens.push({ kind: 'name', text: word });
      else if (mark !== undefined) tokens.push({ kind: 'operator', text: mark });
      else return undefined;
    }
  }
}

/** Nesting that no honest expression has, against a full stack. */
const maxDepth = 200;

/** Binary operators, from those that bind least to those that bind most. */
const levels: readonly ReadonlySet<string>[] = [
  new Set(['||']),
  new Set(['&&']),
  new Set(['==', '!=', '<', '<=', '>', '>=', 'in']),
  new Set(['+', '-']),
  new Set(['*', '/', '%']),
];

const macros = new Set(['all', 'exists', 'exists_one', 'filter', 'map']);

interface Parser {
  expression(depth: number): CelNode | undefined;
  atEnd(): boolean;
}

function createParser(tokens: readonly Token[]): Parser {
  let next = 0;
  const sees = (text: string): boolean => tokens[next]?.text === text && tokens[next]?.kind !== 'literal';
  const takes = (text: string): boolean => {
    if (!sees(text)) return false;
    next++;
    return true;
  };

  const expression = (depth: number): CelNode | undefined => {
    if (depth > maxDepth) return undefined;
    const first = operands(depth, 0);
    if (first === undefined || !takes('?')) return first;
    const yes = operands(depth + 1, 0);
    if (yes === undefined || !takes(':')) return undefined;
    const no = expression(depth + 1);
    return no && { kind: 'choice', of: first, yes, no };
  };
  const operands = (depth: number, level: number): CelNode | undefined => {
    const here = levels[level];
    if (here === undefined) return unary(depth);
    let left = operands(depth, level + 1);
    while (left !== undefined && tokens[next]?.kind !== 'literal' && here.has(tokens[next]?.text ?? '')) {
      const sign = (tokens[next] as Token).text;
      next++;
      const right = operands(depth, level + 1);
      left = right && { kind: 'binary', operator: sign, left, right };
    }
    return left;
  };
  const unary = (depth: number): CelNode | undefined => {
    const sign = sees('!') ? '!' : sees('-') ? '-' : undefined;
    if (sign === undefined) return member(depth);
    let times = 0;
    for (; takes(sign); times++);
    const of = member(depth);
    if (of === undefined) return undefined;
    return times % 2 === 1 ? { kind: 'unary', operator: sign, of } : twice(sign, of);
  };
  /** Twice is no change, and still asks for a value that has an opposite. */
  const twice = (sign: '!' | '-', of: CelNode): CelNode => ({
    kind: 'unary',
    operator: sign,
    of: { kind: 'unary', operator: sign, of },
  });
  const member = (depth: number): CelNode | undefined => {
    let node = primary(depth);
    while (node !== undefined) {
      if (takes('.')) {
        const word = tokens[next];
        if (word?.kind !== 'name' || word.text === 'in') return undefined;
        next++;
        if (!sees('(')) {
          node = { kind: 'field', of: node, name: word.text.replaceAll('`', '') };
          continue;
        }
        const given = list('(', ')', depth);
        if (given === undefined || !namesItem(word.text, given)) return undefined;
        node = { kind: 'call', name: word.text, of: node, given };
      } else if (takes('[')) {
        const at = expression(depth + 1);
        if (at === undefined || !takes(']')) return undefined;
        node = { kind: 'index', of: node, at };
      } else if (sees('{')) node = entries(depth);
      else return node;
    }
    return undefined;
  };
  const primary = (depth: number): CelNode | undefined => {
    const token = tokens[next];
    if (token === undefined) return undefined;
    if (token.kind === 'literal') {
      next++;
      const value = literalOf(token.text);
      return value && { kind: 'literal', value };
    }
    if (takes('(')) {
      const inner = expression(depth + 1);
      return takes(')') ? inner : undefined;
    }
    if (sees('[')) {
      const items = list('[', ']', depth);
      return items && { kind: 'list', items };
    }
    if (sees('{')) return entries(depth);
    takes('.');
    const word = tokens[next];
    if (word?.kind !== 'name' || word.text === 'in' || reserved.has(word.text)) return undefined;
    next++;
    if (!sees('(')) return constants.get(word.text) ?? { kind: 'name', name: word.text };
    const given = list('(', ')', depth);
    if (given === undefined) return undefined;
    // The macro asks whether a field is there.
    if (word.text === 'has' && given.length === 1 && given[0]?.kind !== 'field') return undefined;
    return { kind: 'call', name: word.text, of: undefined, given };
  };
  const list = (open: string, close: string, depth: number): readonly CelNode[] | undefined => {
    if (!takes(open)) return undefined;
    const items: CelNode[] = [];
    if (open === '[' && sees(',') && tokens[next + 1]?.text === close) next++;
    while (!sees(close)) {
      const item = expression(depth + 1);
      if (item === undefined) return undefined;
      items.push(item);
      if (!takes(',')) break;
    }
    return takes(close) ? items : undefined;
  };
  const entries = (depth: number): CelNode | undefined => {
    if (!takes('{')) return undefined;
    while (!sees('}')) {
      if (!(expression(depth + 1) && takes(':') && expression(depth + 1))) return undefined;
      if (!takes(',')) break;
    }
    return takes('}') ? { kind: 'entries' } : undefined;
  };
  return { expression, atEnd: () => next === tokens.length };
}

/** The macros over lists begin with a name for their items; other functions may be called the same. */
function namesItem(word: string, given: readonly CelNode[]): boolean {
  if (!macros.has(word) || !(given.length === 2 || (given.length === 3 && word === 'map'))) return true;
  return given[0]?.kind === 'name';
}

const constants: ReadonlyMap<string, CelNode> = new Map<string, CelNode>([
  ['true', { kind: 'literal', value: { type: 'bool', value: true } }],
  ['false', { kind: 'literal', value: { type: 'bool', value: false } }],
  ['null', { kind: 'literal', value: { type: 'null', value: null } }],
]);

function literalOf(text: string): CelLiteral | undefined {
  const quoted = /^([rRbB]*)("""|'''|"|')([\s\S]*)\2$/.exec(text);
  if (quoted === null) {
    if (/^0[xX]/.test(text) || !/[.eE]/.test(text)) {
      const isUnsigned = /[uU]$/.test(text);
      return { type: isUnsigned ? 'uint' : 'int', value: Number(isUnsigned ? text.slice(0, -1) : text) };
    }
    return { type: 'double', value: Number(text) };
  }
  const [, prefix = '', , inner = ''] = quoted;
  const type = /[bB]/.test(prefix) ? 'bytes' : 'string';
  const value = /[rR]/.test(prefix) ? inner : unescaped(inner);
  return value === undefined ? undefined : { type, value };
}

const escapes =
  /\\(?:([abfnrtv\\?"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|([\s\S]?))/g;
const marks: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

function unescaped(text: string): string | undefined {
  let wrong = false;
  const result = text.replace(escapes, (_, mark, x, short, long, octal) => {
    if (mark !== undefined) return marks[mark] ?? mark;
    const code = octal === undefined ? Number.parseInt(x ?? short ?? long ?? '', 16) : Number.parseInt(octal, 8);
    if (!(code <= 0x10ffff) || (code >= 0xd800 && code <= 0xdfff)) {
      wrong = true;
      return '';
    }
    return String.fromCodePoint(code);
  });
  return wrong ? undefined : result;
}
