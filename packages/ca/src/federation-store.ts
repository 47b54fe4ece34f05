import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckedRelation, parseRelation } from './federation-relation.ts';
import { makePrivateFolder, readIfThere, writePrivately } from './files.ts';
import { refusal } from './refusal.ts';

/** Where relations and the bundles that were fetched last live. */
export interface FederationStore {
  /** All relations; `broken` are those that cannot be read, which are none. */
  list(): { readonly relations: readonly CheckedRelation[]; readonly broken: readonly string[] };
  /** Adds a relation, or puts it in place of the one of its name. */
  save(relation: CheckedRelation): void;
  /** Takes a relation and its bundle away. False when there is none. */
  remove(name: string): boolean;
  /** The document that was fetched last, with the time, milliseconds since the epoch. */
  bundle(name: string): StoredBundle | undefined;
  saveBundle(name: string, bundle: StoredBundle): void;
  dropBundle(name: string): void;
}

/** A bundle document as it was fetched, or given for the beginning. */
export interface StoredBundle {
  readonly text: string;
  /** Nothing for one that was given. */
  readonly fetchedAt?: number;
}

/** Relations that end with the process. */
export function memoryFederationStore(): FederationStore {
  const relations = new Map<string, CheckedRelation>();
  const bundles = new Map<string, StoredBundle>();
  return {
    list: () => ({ relations: [...relations.values()], broken: [] }),
    save: (relation) => void relations.set(relation.name, relation),
    remove: (name) => {
      bundles.delete(name);
      return relations.delete(name);
    },
    bundle: (name) => bundles.get(name),
    saveBundle: (name, bundle) => void bundles.set(name, bundle),
    dropBundle: (name) => void bundles.delete(name),
  };
}

const relationSuffix = '.relation.json';
const bundleSuffix = '.bundle.json';
const maxRelations = 256;

/**
 * Relations in a folder, two files for each, so that what one process writes (`inmesh ca federate
 * add`) another one (`inmesh ca serve`) follows.
 */
export function folderFederationStore(folder: string, trustDomain: string): FederationStore {
  const file = (name: string, suffix: string): string => join(folder, `${name}${suffix}`);
  const read = (name: string): CheckedRelation => {
    const relation = parseRelation(readIfThere(file(name, relationSuffix)) ?? '', trustDomain);
    if (relation.name !== name) throw new Error(`the file is of ${JSON.stringify(relation.name)}`);
    return relation;
  };
  const names = (): readonly string[] => {
    try {
      return readdirSync(folder)
        .filter((name) => name.endsWith(relationSuffix))
        .map((name) => name.slice(0, -relationSuffix.length))
        .toSorted();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  };
  return {
    list: () => {
      const relations: CheckedRelation[] = [];
      const broken: string[] = [];
      for (const name of names()) {
        try {
          relations.push(read(name));
        } catch (error) {
          broken.push(`${file(name, relationSuffix)}: ${(error as Error).message}`);
        }
      }
      return { relations, broken };
    },
    save: (relation) => {
      const known = names();
      if (!known.includes(relation.name) && known.length >= maxRelations) {
        throw refusal('bad_request', `there are ${maxRelations} relations already`);
      }
      makePrivateFolder(folder);
      writePrivately(file(relation.name, relationSuffix), `${JSON.stringify(relation, undefined, 2)}\n`);
    },
    remove: (name) => {
      if (!names().includes(name)) return false;
      // The relation first: from then on nobody asks for its bundle.
      rmSync(file(name, relationSuffix), { force: true });
      rmSync(file(name, bundleSuffix), { force: true });
      return true;
    },
    bundle: (name) => {
      const text = readIfThere(file(name, bundleSuffix));
      return text === undefined ? undefined : storedBundle(text);
    },
    saveBundle: (name, bundle) => {
      makePrivateFolder(folder);
      const { fetchedAt, text } = bundle;
      writePrivately(file(name, bundleSuffix), `${JSON.stringify({ fetchedAt, document: text })}\n`);
    },
    dropBundle: (name) => rmSync(file(name, bundleSuffix), { force: true }),
  };
}

/** What is not as it was written is handed on as it is: it is no bundle, and whoever reads it says so. */
function storedBundle(text: string): StoredBundle {
  try {
    const { document, fetchedAt } = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (typeof document !== 'string') return { text };
    return typeof fetchedAt === 'number' ? { text: document, fetchedAt } : { text: document };
  } catch {
    return { text };
  }
}
