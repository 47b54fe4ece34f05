import { MeshError } from '../errors.ts';
import { type CelNode, maxExpression, parseCel } from './cel-syntax.ts';
import { compileRegex, isRegex } from './regex.ts';

/** `strings`: a map of texts, such as the headers of a request. A duration is a number of milliseconds. */
export type CelType = 'string' | 'int' | 'uint' | 'double' | 'bool' | 'duration' | 'strings';

/** What an expression makes of the facts; nothing: an error, which is what CEL makes of things that are not there. */
export type CelValue = string | number | boolean | undefined;

/** What expressions may name: paths such as `request.host`. Who is only to check expressions reads nothing. */
export interface CelNames<Facts> {
  typeOf(path: string): CelType | undefined;
  read(path: string): (facts: Facts) => CelValue;
  /** One entry of a map. */
  readEntry(path: string): (facts: Facts, key: string) => string | undefined;
}

export interface CelOptions {
  /** Texts are joined by `+`, and made by `string()`. Envoy's access log knows neither. Default false. */
  readonly makesTexts?: boolean;
}

/** An expression, compiled. */
export interface CelExpression<Facts> {
  readonly type: CelType;
  /** Never throws; takes a time that the length of the expression and of the texts bounds. */
  evaluate(facts: Facts): CelValue;
}

type Typed<F> = { readonly type: CelType; readonly of: (facts: F) => CelValue; readonly path?: string };

const numeric: ReadonlySet<CelType> = new Set(['int', 'uint', 'double']);
const ordered: ReadonlySet<CelType> = new Set(['int', 'uint', 'double', 'string', 'duration']);

class NotSupported extends Error {}

/**
 * Compiles the part of the Common Expression Language that can be checked before it runs: known names, literals,
 * comparisons, `&&`, `||`, `!`, `? :`, `in`, `has()`, arithmetic, and functions of texts and numbers.
 * `&&` and `||` let one side be an error where the other decides, in either order, as CEL has it.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` which says what is not supported.
 */
export function compileCel<F>(text: string, names: CelNames<F>, options: CelOptions = {}): CelExpression<F> {
  const node = parseCel(text);
  if (node === undefined) {
    throw new MeshError('ERR_MESH_CONFIG_INVALID', `is no expression of CEL with at most ${maxExpression} characters`);
  }
  try {
    const { of, type } = createCompiler(names, options.makesTexts === true)(node);
    return { type, evaluate: of };
  } catch (error) {
    if (error instanceof NotSupported) throw new MeshError('ERR_MESH_CONFIG_INVALID', error.message);
    throw error;
  }
}

function createCompiler<F>(names: CelNames<F>, makesTexts: boolean): (node: CelNode) => Typed<F> {
  const fail = (message: string): never => {
    throw new NotSupported(message);
  };
  const constant = (type: CelType, value: CelValue): Typed<F> => ({ type, of: () => value });

  /** `a.b['c']` as a path; nothing where it is something else. */
  const pathOf = (node: CelNode): string | undefined => {
    if (node.kind === 'name') return node.name;
    const before = node.kind === 'field' || node.kind === 'index' ? pathOf(node.of) : undefined;
    if (before === undefined || names.typeOf(before) !== undefined) return undefined;
    if (node.kind === 'field') return `${before}.${node.name}`;
    if (node.kind !== 'index' || node.at.kind !== 'literal' || node.at.value.type !== 'string') return undefined;
    return `${before}.${node.at.value.value}`;
  };

  const compile = (node: CelNode): Typed<F> => {
    const path = pathOf(node);
    if (path !== undefined) {
      const type = names.typeOf(path) ?? fail(`does not know ${path}`);
      return type === 'strings' ? { type, of: () => undefined, path } : { type, of: names.read(path) };
    }
    switch (node.kind) {
      case 'literal':
        return literal(node.value);
      case 'field':
        return entry(compile(node.of), constant('string', node.name));
      case 'index':
        return entry(compile(node.of), compile(node.at));
      case 'unary':
        return unary(node.operator, compile(node.of));
      case 'binary':
        return node.operator === 'in' ? within(node.left, node.right) : binary(node);
      case 'choice':
        return choice(compile(node.of), compile(node.yes), compile(node.no));
      case 'call':
        return call(node);
      default:
        return fail(node.kind === 'list' ? 'knows lists only on the right of in' : 'knows no maps and messages');
    }
  };

  const literal = (given: Extract<CelNode, { kind: 'literal' }>['value']): Typed<F> => {
    if (given.type === 'bytes' || given.type === 'null') return fail(`knows no values of type ${given.type}`);
    if (typeof given.value === 'number' && given.type !== 'double' && !Number.isSafeInteger(given.value)) {
      return fail('takes whole numbers below 2^53');
    }
    return constant(given.type, given.value);
  };

  const entry = (map: Typed<F>, key: Typed<F>): Typed<F> => {
    if (map.path === undefined) return fail('takes entries of maps only, such as request.headers["x-a"]');
    if (key.type !== 'string') return fail(`takes texts as keys of ${map.path}`);
    const read = names.readEntry(map.path);
    return {
      type: 'string',
      of(facts) {
        const name = key.of(facts);
        return name === undefined ? undefined : read(facts, name as string);
      },
    };
  };

  const unary = (operator: '!' | '-', { of, type }: Typed<F>): Typed<F> => {
    if (operator === '!') {
      if (type !== 'bool') return fail(`takes true or false behind !, and this is of type ${type}`);
      return {
        type,
        of(facts) {
          const value = of(facts);
          return value === undefined ? undefined : !value;
        },
      };
    }
    if (type !== 'int' && type !== 'double') return fail(`takes a number with a sign behind -, and this is a ${type}`);
    return {
      type,
      of(facts) {
        const value = of(facts);
        return value === undefined ? undefined : 0 - (value as number);
      },
    };
  };

  const binary = (node: Extract<CelNode, { kind: 'binary' }>): Typed<F> => {
    const { operator } = node;
    const left = compile(node.left);
    const right = compile(node.right);
    if (operator === '&&' || operator === '||') return logic(operator === '||', left, right);
    const same = left.type === right.type || (numeric.has(left.type) && numeric.has(right.type));
    const types = `${left.type} ${operator} ${right.type}`;
    if (operator === '==' || operator === '!=') {
      if (!same || left.type === 'strings') return fail(`does not compare values of these types: ${types}`);
      const wanted = operator === '==';
      return both('bool', left, right, (a, b) => (a === b) === wanted);
    }
    const compare = comparisons[operator];
    if (compare !== undefined) {
      if (!same || !ordered.has(left.type)) return fail(`does not order values of these types: ${types}`);
      return left.type === 'string'
        ? both('bool', left, right, (a, b) => compare(byCodePoint(a as string, b as string), 0))
        : both('bool', left, right, (a, b) => compare(a as number, b as number));
    }
    if (operator === '+' && left.type === 'string' && right.type === 'string') {
      if (!makesTexts) return fail('joins no texts in access logs, as Envoy');
      return both('string', left, right, (a, b) => `${a}${b}`.slice(0, maxText));
    }
    if (left.type !== right.type || !numeric.has(left.type))
      return fail(`does not calculate with these types: ${types}`);
    return both(left.type, left, right, calculation(operator, left.type));
  };

  const logic = (decisive: boolean, left: Typed<F>, right: Typed<F>): Typed<F> => {
    if (left.type !== 'bool' || right.type !== 'bool') return fail('takes true or false on both sides of && and ||');
    return {
      type: 'bool',
      of(facts) {
        const first = left.of(facts);
        if (first === decisive) return decisive;
        const second = right.of(facts);
        if (second === decisive) return decisive;
        return first === undefined || second === undefined ? undefined : !decisive;
      },
    };
  };

  const choice = (condition: Typed<F>, yes: Typed<F>, no: Typed<F>): Typed<F> => {
    if (condition.type !== 'bool') return fail('takes true or false before ?');
    if (yes.type !== no.type || yes.type === 'strings') return fail('takes values of one type on both sides of :');
    return {
      type: yes.type,
      of(facts) {
        const value = condition.of(facts);
        return value === undefined ? undefined : value === true ? yes.of(facts) : no.of(facts);
      },
    };
  };

  const within = (left: CelNode, right: CelNode): Typed<F> => {
    const item = compile(left);
    if (right.kind !== 'list') {
      const map = compile(right);
      if (map.path === undefined || item.type !== 'string') return fail('takes in for lists, and for texts in maps');
      const read = names.readEntry(map.path);
      return {
        type: 'bool',
        of(facts) {
          const key = item.of(facts);
          return key === undefined ? undefined : read(facts, key as string) !== undefined;
        },
      };
    }
    const items = right.items.map(compile);
    if (items.some(({ type }) => type !== item.type && !(numeric.has(type) && numeric.has(item.type)))) {
      return fail('takes lists of values of the type that is looked for');
    }
    return {
      type: 'bool',
      of(facts) {
        const wanted = item.of(facts);
        if (wanted === undefined) return undefined;
        let found = false;
        for (const each of items) {
          const value = each.of(facts);
          if (value === undefined) return undefined;
          found ||= value === wanted;
        }
        return found;
      },
    };
  };

  const call = ({ given, name, of }: Extract<CelNode, { kind: 'call' }>): Typed<F> => {
    const all = of === undefined ? given : [of, ...given];
    const [first, second] = all;
    if (name === 'has' && of === undefined && first !== undefined && all.length === 1) return has(first);
    if (name === 'duration' && of === undefined && first?.kind === 'literal' && all.length === 1) {
      const ms = first.value.type === 'string' ? durationMs(first.value.value) : undefined;
      return ms === undefined ? fail('takes durations such as duration("1.5s")') : constant('duration', ms);
    }
    if (name === 'matches' && first !== undefined && second !== undefined && all.length === 2) {
      return matches(compile(first), second);
    }
    const text = textFunctions.get(name);
    if (text !== undefined && of !== undefined && first !== undefined && second !== undefined && all.length === 2) {
      const [whole, part] = [compile(first), compile(second)];
      if (whole.type !== 'string' || part.type !== 'string') return fail(`takes texts for ${name}()`);
      return both('bool', whole, part, (a, b) => text(a as string, b as string));
    }
    // Conversions are no functions of a value: `int(x)`, and not `x.int()`.
    if (first === undefined || all.length !== 1 || (of !== undefined && name !== 'size')) {
      return fail(`does not know the function ${name}()`);
    }
    return convert(name, compile(first));
  };

  /** A field is there where its value is. */
  const has = (node: CelNode): Typed<F> => {
    const { of, path } = compile(node);
    return { type: 'bool', of: path === undefined ? (facts) => of(facts) !== undefined : () => true };
  };

  const matches = (text: Typed<F>, node: CelNode): Typed<F> => {
    if (text.type !== 'string' || node.kind !== 'literal' || node.value.type !== 'string') {
      return fail('takes a text and a pattern in quotes for matches()');
    }
    const pattern = node.value.value;
    if (!isRegex(pattern)) return fail('takes patterns of RE2 for matches()');
    let test: (text: string) => boolean;
    try {
      // CEL looks for the pattern anywhere.
      test = compileRegex(`(?s:.*)(?:${pattern})(?s:.*)`);
    } catch (error) {
      return fail(`takes no such pattern for matches(): ${(error as Error).message}`);
    }
    return one('bool', text, (value) => test(value as string));
  };

  const convert = (name: string, from: Typed<F>): Typed<F> => {
    const { type } = from;
    if (name === 'size' && type === 'string') return one('int', from, (value) => codePoints(value as string));
    if (name === 'string' && makesTexts && type !== 'strings' && type !== 'duration') {
      return one('string', from, String);
    }
    if ((name === 'int' || name === 'uint' || name === 'double') && (numeric.has(type) || type === 'string')) {
      return one(name, from, (value) => toNumber(name, value as string | number));
    }
    return fail(`does not know the function ${name}() of values of type ${type}`);
  };

  const one = (type: CelType, { of }: Typed<F>, make: (value: string | number | boolean) => CelValue): Typed<F> => ({
    type,
    of(facts) {
      const value = of(facts);
      return value === undefined ? undefined : make(value);
    },
  });
  const both = (
    type: CelType,
    left: Typed<F>,
    right: Typed<F>,
    make: (a: string | number | boolean, b: string | number | boolean) => CelValue,
  ): Typed<F> => ({
    type,
    of(facts) {
      const a = left.of(facts);
      const b = right.of(facts);
      return a === undefined || b === undefined ? undefined : make(a, b);
    },
  });
  return compile;
}

/** A text made of others grows no further. */
const maxText = 8_192;

const comparisons: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

const textFunctions: ReadonlyMap<string, (text: string, part: string) => boolean> = new Map([
  ['contains', (text: string, part: string) => text.includes(part)],
  ['startsWith', (text: string, part: string) => text.startsWith(part)],
  ['endsWith', (text: string, part: string) => text.endsWith(part)],
]);

/** CEL orders texts by code points, JavaScript by code units. */
function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Whole numbers that do not fit, and a division by zero, are errors. */
function calculation(operator: string, type: CelType): (a: unknown, b: unknown) => CelValue {
  const whole = type !== 'double';
  return (a, b) => {
    const result = arithmetic(operator, a as number, b as number, whole);
    if (!whole) return operator === '%' ? undefined : result;
    return Number.isSafeInteger(result) && (type === 'int' || result >= 0) ? result + 0 : undefined;
  };
}

function arithmetic(operator: string, a: number, b: number, whole: boolean): number {
  if (operator === '+') return a + b;
  if (operator === '-') return a - b;
  if (operator === '*') return a * b;
  if (operator === '%') return a % b;
  return whole ? Math.trunc(a / b) : a / b;
}

function toNumber(name: 'int' | 'uint' | 'double', value: string | number): CelValue {
  if (typeof value === 'string' && !numberPatterns[name].test(value)) return undefined;
  const number = Number(value);
  if (name === 'double') return number;
  const whole = Math.trunc(number);
  return Number.isSafeInteger(whole) && (name === 'int' || whole >= 0) ? whole : undefined;
}

/** No digit has two places where it could belong: strangers choose these texts. */
const numberPatterns = { int: /^[+-]?\d+$/, uint: /^\+?\d+$/, double: /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/ };

const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 1e-3, ns: 1e-6 };

/** Go's durations. */
function durationMs(text: string): number | undefined {
  const [, sign, parts = ''] = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:h|ms|us|ns|m|s))+|0)$/.exec(text) ?? [];
  if (sign === undefined) return undefined;
  let sum = 0;
  for (const [, value = '', unit = ''] of parts.matchAll(/([\d.]+)(h|ms|us|ns|m|s)/g)) {
    sum += Number(value) * (units[unit] as number);
  }
  return sign === '-' ? 0 - sum : sum;
}
