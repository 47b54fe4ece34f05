import { ResourceError } from '../resources.ts';
import { lineOf } from './outbound-matchers.ts';
import { checkedPattern, quote } from './string-matchers.ts';

/** A path with variables as a regular expression whose groups are the variables, in order. */
export interface PathTemplate {
  readonly pattern: string;
  readonly variables: readonly string[];
}

const segment = "[a-zA-Z0-9._~%!$&'()+,;:@-]+";
const segments = "[a-zA-Z0-9._~%!$&'()+,;:@/-]*";
const maxVariables = 5;

/**
 * Envoy's `uri_template`: `/users/{id}/files/{rest=**}`. `*` stands for one segment, `**` for any
 * number of them and may only be at the end.
 */
export function pathTemplate(text: string, path: string): PathTemplate {
  const refuse = (why: string): ResourceError => new ResourceError(path, why, { value: text });
  if (!text.startsWith('/')) throw refuse('expected a template that begins with /');
  const variables: string[] = [];
  let open = false;
  const parts = (inner: string): string =>
    inner
      .split('/')
      .map((part) => {
        if (open) throw refuse('expected ** at the end only');
        if (part === '**') {
          open = true;
          return segments;
        }
        if (part === '*') return segment;
        if (part.includes('*')) throw refuse('expected * to be a whole segment');
        if (!/^[a-zA-Z0-9._~%!$&'()+,;:@=-]*$/.test(part)) throw refuse('expected characters of a path');
        return quote(part);
      })
      .join('/');
  let pattern = '';
  let rest = text;
  while (rest !== '') {
    const at = rest.indexOf('{');
    const literal = at === -1 ? rest : rest.slice(0, at);
    pattern += parts(literal);
    if (at === -1) break;
    const end = rest.indexOf('}', at);
    if (end === -1) throw refuse('expected a } for each {');
    const [name = '', inner = '*', ...more] = rest.slice(at + 1, end).split('=');
    if (!/^[a-zA-Z][a-zA-Z0-9_]*$/.test(name) || name.length > 16 || more.length > 0) {
      throw refuse('expected names of letters and digits, 16 at most');
    }
    if (variables.includes(name)) throw refuse(`expected each name once, and ${name} is there twice`);
    if (variables.push(name) > maxVariables) throw refuse(`expected at most ${maxVariables} variables`);
    if (open) throw refuse('expected ** at the end only');
    pattern += `(${parts(inner)})`;
    rest = rest.slice(end + 1);
  }
  checkedPattern(pattern, path, 'expected a template that a pattern can stand for');
  return { pattern, variables };
}

/** `path_template_rewrite` as what a regular expression substitutes: `\1` for the first variable. */
export function templateSubstitution(text: string, { variables }: PathTemplate, path: string): string {
  if (!lineOf(text, path).startsWith('/'))
    throw new ResourceError(path, 'expected a path that begins with /', { value: text });
  return text.replace(/\\|\{([^}]*)\}/g, (whole, name?: string) => {
    if (name === undefined) return `\\${whole}`;
    const index = variables.indexOf(name);
    if (index === -1) {
      throw new ResourceError(path, `expected variables of the template (${variables.join(', ')})`, { value: name });
    }
    return `\\${index + 1}`;
  });
}
