import type { StringMatch } from '../model/string-match.ts';
import { anyText, type CompileList } from './fields.ts';

/** Express and Fastify run the handler of GET for HEAD: what is refused for one is refused for the other. */
export function methodsRead(literal: boolean): CompileList<StringMatch> {
  return (matches, doubtMatches) => {
    const matcher = anyText(matches);
    if (literal || !doubtMatches || !matcher('GET')) return ({ method }) => matcher(method);
    return ({ method }) => method === 'HEAD' || matcher(method);
  };
}
