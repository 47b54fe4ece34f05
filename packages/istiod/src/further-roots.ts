import { readRoots } from './files.ts';

/** Roots (PEM, one certificate each) by trust domain, beside those that istiod sends. */
export type FurtherRoots = ReadonlyMap<string, readonly string[]>;

/** Reads the files of the option `extraRoots`. */
export interface FurtherRootsReader {
  /**
   * The roots as they are now. While they cannot be used: those that were read last, and why.
   *
   * @throws FileTrouble or MeshError `ERR_MESH_NO_IDENTITY` when none were ever read
   */
  read(): Promise<{ readonly roots: FurtherRoots; readonly problem?: Error }>;
}

/** @param sources trust domain to PEM, or to the path of a PEM file */
export function furtherRoots(sources: Readonly<Record<string, string>>): FurtherRootsReader {
  let last: FurtherRoots | undefined;
  return {
    async read() {
      try {
        const roots = new Map<string, readonly string[]>();
        for (const [domain, source] of Object.entries(sources)) {
          roots.set(domain, await readRoots(source, `extraRoots of ${domain}`));
        }
        last = roots;
        return { roots };
      } catch (error) {
        // A mistake in one of these files must not end with an expired identity.
        if (last === undefined) throw error;
        return { roots: last, problem: error instanceof Error ? error : new Error(String(error)) };
      }
    },
  };
}
