/**
 * Is a text an expression of the Common Expression Language, as far as its grammar goes? Names and
 * types are not looked at. Grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md
 */
export function isCelExpression(text: string): boolean {
  const tokens = tokensOf(text);
  if (tokens === undefined) return false;
  const parser = createParser(tokens);
  return parser.expression(0) && parser.atEnd();
}

type Kind = 'name' | 'literal' | 'operator';

interface Token {
  readonly kind: Kind;
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
const binary = new Set(['||', '&&', '==', '!=', '<', '<=', '>', '>=', '+', '-', '*', '/', '%', 'in']);

const macros = new Set(['all', 'exists', 'exists_one', 'filter', 'map']);

interface Parser {
  expression(depth: number): boolean;
  atEnd(): boolean;
}

function createParser(tokens: readonly Token[]): Parser {
  let next = 0;
  /** Was the expression that was read last a field of something, as `a.b`? */
  let isField = false;
  /** How many entries the list had that was read last. */
  let listed = 0;
  const sees = (text: string): boolean => tokens[next]?.text === text && tokens[next]?.kind !== 'literal';
  const takes = (text: string): boolean => {
    if (!sees(text)) return false;
    next++;
    return true;
  };

  /** `a ? b : c`, or operands with operators between; precedence does not matter for syntax. */
  const expression = (depth: number): boolean => {
    if (depth > maxDepth || !operands(depth)) return false;
    if (!takes('?')) return true;
    if (!(operands(depth + 1) && takes(':') && expression(depth + 1))) return false;
    isField = false;
    return true;
  };
  const operands = (depth: number): boolean => {
    if (!unary(depth)) return false;
    while (binary.has(tokens[next]?.text ?? '') && tokens[next]?.kind !== 'literal') {
      next++;
      if (!unary(depth)) return false;
      isField = false;
    }
    return true;
  };
  const unary = (depth: number): boolean => {
    const sign = tokens[next]?.text ?? '';
    if (!sees('!') && !sees('-')) return member(depth);
    while (sees(sign)) next++;
    if (!member(depth)) return false;
    isField = false;
    return true;
  };
  const member = (depth: number): boolean => {
    if (!primary(depth)) return false;
    for (;;) {
      if (takes('.')) {
        const word = tokens[next];
        if (word?.kind !== 'name' || word.text === 'in') return false;
        next++;
        const called = sees('(');
        const from = next;
        if (called && !(list('(', ')', depth) && namesItem(word.text, from))) return false;
        isField = !called;
      } else if (takes('[')) {
        if (!expression(depth + 1) || !takes(']')) return false;
        isField = false;
      } else if (sees('{')) {
        if (!entries(depth)) return false;
        isField = false;
      } else return true;
    }
  };
  const primary = (depth: number): boolean => {
    const token = tokens[next];
    if (token === undefined) return false;
    isField = false;
    if (token.kind === 'literal') {
      next++;
      return true;
    }
    if (takes('(')) return expression(depth + 1) && takes(')');
    if (sees('[')) return list('[', ']', depth);
    if (sees('{')) return entries(depth);
    takes('.');
    const word = tokens[next];
    if (word?.kind !== 'name' || word.text === 'in' || reserved.has(word.text)) return false;
    next++;
    if (!sees('(')) return true;
    if (!list('(', ')', depth)) return false;
    // The macro asks whether a field is there.
    const good = word.text !== 'has' || listed !== 1 || isField;
    isField = false;
    return good;
  };
  const list = (open: string, close: string, depth: number): boolean => {
    if (!takes(open)) return false;
    let count = 0;
    if (open === '[' && sees(',') && tokens[next + 1]?.text === close) next++;
    while (!sees(close)) {
      if (!expression(depth + 1)) return false;
      count++;
      if (!takes(',')) break;
    }
    if (!takes(close)) return false;
    listed = count;
    return true;
  };
  /** The macros over lists begin with the name for their items. */
  /** The macros over lists begin with a name for their items; other functions may be called the same. */
  const namesItem = (word: string, from: number): boolean =>
    !macros.has(word) ||
    !(listed === 2 || (listed === 3 && word === 'map')) ||
    (tokens[from + 1]?.kind === 'name' && tokens[from + 2]?.text === ',');
  const entries = (depth: number): boolean => {
    if (!takes('{')) return false;
    while (!sees('}')) {
      if (!(expression(depth + 1) && takes(':') && expression(depth + 1))) return false;
      if (!takes(',')) break;
    }
    return takes('}');
  };
  return { expression, atEnd: () => next === tokens.length };
}
