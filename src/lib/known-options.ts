import { MeshError } from '../errors.ts';
import { suggest } from './suggest.ts';

/** The names of all options of a function; the types make sure that none is missing. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/**
 * Refuses options that there are not, for callers without types: of one whose name is mistyped nobody would learn that
 * it has no effect, and it may be the one that encrypts a key or asks for a token.
 *
 * @param what the function, for the message
 * @throws MeshError `ERR_MESH_OPTION_INVALID` with the name, and the one that was probably meant
 */
export function refuseUnknownOptions<Options extends object>(
  what: string,
  options: Options,
  known: OptionNames<Options>,
): void {
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    throw new MeshError(
      'ERR_MESH_OPTION_INVALID',
      `${what}: ${name}: ${unknownName('option', name, Object.keys(known))}`,
    );
  }
}

/** `is not a known option; did you mean config?` */
export function unknownName(what: string, name: string, known: Iterable<string>): string {
  const all = [...known];
  const meant = suggest(name, all);
  return `is not a known ${what}${meant === undefined ? `; known: ${all.join(', ')}` : `; did you mean ${meant}?`}`;
}
