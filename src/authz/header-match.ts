import { hopByHop } from '../lib/hop-by-hop.ts';
import { subjectLimit } from '../lib/regex.ts';
import type { StringMatch } from '../model/string-match.ts';
import { anyText, type CompileList } from './fields.ts';
import { compileHosts, hostView } from './host-match.ts';
import { methodsRead } from './method-match.ts';

/**
 * Compiles patterns for the values of a header. Each line of it is a value by itself
 * (CVE-2026-26308): to refuse, one that matches is enough; to allow, all have to, so that nobody
 * adds the value that is asked for to the one that counts. To refuse, the lines are also read as the
 * one list that applications see, so that nobody splits a value. A header that is absent matches
 * nothing, one that is empty matches `*`. `TE` may concern one connection or not: Envoy shows `trailers` and gRFC A41
 * nothing, so it is in doubt.
 *
 * @param name lower case
 */
export function headerValues(name: string, literal: boolean): CompileList<StringMatch> {
  if (name === ':method') return methodsRead(literal);
  if (name === ':authority' || name === 'host') return authorityRead(literal);
  if (hopByHop.has(name)) return () => () => false;
  return (matches, doubtMatches) => {
    if (name === 'te' && !doubtMatches) return () => false;
    const matcher = anyText(matches.map(inBytes));
    // A text too long for a regular expression is in doubt.
    const longest = Math.min(
      ...matches.map((match) => (match.kind === 'regex' ? subjectLimit(match.value) : Infinity)),
    );
    const joiners = name === 'cookie' ? cookieJoiners : listJoiners;
    return ({ rawHeaders }) => {
      let found = false;
      let several: string[] | undefined;
      for (let i = 0; i < rawHeaders.length; i += 2) {
        const given = rawHeaders[i] as string;
        if (given.length !== name.length || (given !== name && given.toLowerCase() !== name)) continue;
        const value = rawHeaders[i + 1] as string;
        if ((matcher(value) || (doubtMatches && value.length > longest)) === doubtMatches) return doubtMatches;
        if (found && doubtMatches) several ??= linesOf(name, rawHeaders);
        found = true;
      }
      if (several === undefined) return found && !doubtMatches;
      const lines = several;
      return joiners.some((joiner) => {
        const value = lines.join(joiner);
        return matcher(value) || value.length > longest;
      });
    };
  };
}

/** Node.js writes `, ` between the lines of a list, others `,`; HTTP/2 lets clients split cookies (RFC 9113, 8.2.3). */
const listJoiners = [', ', ','] as const;
const cookieJoiners = ['; '] as const;

function linesOf(name: string, rawHeaders: readonly string[]): string[] {
  const lines: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === name) lines.push(rawHeaders[i + 1] as string);
  }
  return lines;
}

/** As it was written, as Envoy compares it; to refuse, also however else the host could have been written. */
function authorityRead(literal: boolean): CompileList<StringMatch> {
  return (matches, doubtMatches) => {
    const matcher = anyText(matches);
    if (!doubtMatches) return ({ host }) => host !== '' && matcher(host);
    const isHost = compileHosts(matches, !literal);
    return ({ host }, derived) => host !== '' && (matcher(host) || isHost((derived.host ??= hostView(host))));
  };
}

/** Node.js reads each byte of a header as one character: what is compared with it must be written so, too. */
function inBytes(match: StringMatch): StringMatch {
  if (match.kind === 'present' || match.kind === 'regex') return match;
  return { kind: match.kind, value: Buffer.from(match.value, 'utf8').toString('latin1') };
}
