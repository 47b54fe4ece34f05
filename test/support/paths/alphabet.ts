/**
 * Fourteen tokens that make the difference between routers, of which all targets of up to five are
 * tried: separators raw and encoded, dot segments, what ends a path, and the same word in three spellings.
 */
export const alphabet = [
  '/',
  '\\',
  '.',
  '..',
  '%2e',
  '%2f',
  '%5c',
  ';',
  '?',
  '#',
  'admin',
  'ADMIN',
  '%61dmin',
  'public',
] as const;

/** How many strings of 1 to `length` tokens there are. */
export function countOf(length: number, tokens: readonly string[] = alphabet): number {
  let count = 0;
  for (let i = 1; i <= length; i++) count += tokens.length ** i;
  return count;
}

/** The string with this number: shorter ones first, the last token changes fastest. */
export function stringAt(index: number, tokens: readonly string[] = alphabet): string {
  const size = tokens.length;
  let rest = index;
  let length = 1;
  while (rest >= size ** length) {
    rest -= size ** length;
    length++;
  }
  let text = '';
  for (let i = 0; i < length; i++) {
    text = tokens[rest % size] + text;
    rest = Math.floor(rest / size);
  }
  return text;
}

/** What else has fooled readers of paths: for samples of longer targets. */
export const hostile = [
  '//',
  '%00',
  '%0a',
  '%20',
  '%23',
  '%25',
  '%252f',
  '%2561dmin',
  '%26',
  '%3A',
  '%3b',
  '%3F',
  '%40',
  '%4',
  '%7e',
  '%c0%af',
  '%c3%a9',
  '%e9',
  '%E2%84%AA',
  '%u002f',
  '%2E%2E',
  '%41dmin',
  'adm%69n',
  '\xa0',
  '\xe9',
  '\t',
  ' ',
  '@',
  ':',
  '*',
  '+',
  '~',
  "'",
  '"',
  '{x}',
  '|',
  '.json',
  ';v=1',
  'h@host',
  'x',
] as const;
