import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { type Clock, MeshError } from 'inmesh/identity';
import type { Any } from './proto/any.ts';
import { deltaDiscoveryResponse } from './proto/envoy/discovery.ts';
import { decode, encode } from './proto/schema.ts';
import { typeOfUrl } from './protocol/session.ts';
import { nameOf, type ResourceSet, type ResourceType, resourceTypes } from './resources.ts';

/** The file is written so often at most. */
const pauseMs = 5_000;

/** Keeps what is in force in a file, for a process that starts while no control plane can be reached. */
export interface LastGood {
  /** What is in force now. */
  keep(set: ResourceSet): void;
  /** What an earlier process kept. @throws MeshError saying why there is nothing to use */
  load(): Promise<ResourceSet>;
  /** Writes what is not written yet. */
  close(): Promise<void>;
}

export interface LastGoodParts {
  readonly path: string;
  readonly clock: Clock;
  /** Whom it is for and from: what was kept for others is not used. */
  readonly owner: unknown;
  /** Largest file that is read. */
  readonly maxBytes: number;
  failed(problem: MeshError): void;
}

/**
 * The file is one response of a control plane that has everything, with a digest of it. It is
 * written beside and renamed, for its owner only; one that others may write is not believed.
 */
export function createLastGood({ clock, failed, maxBytes, owner, path }: LastGoodParts): LastGood {
  const belongsTo = digest(Buffer.from(JSON.stringify(owner)));
  let next: ResourceSet | undefined;
  let cancel: (() => void) | undefined;
  let writing: Promise<void> = Promise.resolve();

  const write = async (set: ResourceSet): Promise<void> => {
    const resources = resourceTypes.flatMap((type) => [...set[type].values()].map((resource) => ({ resource })));
    const body = encode(deltaDiscoveryResponse, { type_url: belongsTo, resources });
    const beside = `${path}.new`;
    try {
      // What somebody else put there is neither followed nor filled.
      await rm(beside, { force: true });
      const file = await open(beside, 'wx', 0o600);
      try {
        await file.writeFile(Buffer.concat([Buffer.from(digest(body), 'hex'), body]));
      } finally {
        await file.close();
      }
      await rename(beside, path);
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {});
      failed(trouble(`cannot be written: ${messageOf(error)}`));
    }
  };
  const flush = (): void => {
    const set = next;
    cancel?.();
    next = cancel = undefined;
    if (set !== undefined) writing = writing.then(() => write(set));
  };
  const trouble = (what: string): MeshError =>
    new MeshError('ERR_MESH_CONTROL_PLANE', `the last good configuration in ${path} ${what}`);

  return {
    keep(set) {
      next = set;
      cancel ??= clock.after(pauseMs, flush);
    },
    async load() {
      const bytes = await read(path, maxBytes).catch((error: unknown) => {
        throw trouble(`cannot be read: ${messageOf(error)}`);
      });
      const body = bytes.subarray(32);
      if (bytes.length < 32 || digest(body) !== bytes.subarray(0, 32).toString('hex')) throw trouble('is damaged');
      const { resources, type_url } = decode(deltaDiscoveryResponse, body);
      if (type_url !== belongsTo) throw trouble('is of another workload or control plane');
      const set = Object.fromEntries(resourceTypes.map((type) => [type, new Map<string, Any>()])) as Record<
        ResourceType,
        Map<string, Any>
      >;
      for (const { resource } of resources) {
        const type = resource && typeOfUrl(resource.type_url);
        if (type !== undefined) set[type].set(nameOf(resource as Any), resource as Any);
      }
      return set;
    },
    async close() {
      flush();
      await writing;
    },
  };
}

async function read(path: string, maxBytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { mode, size, uid } = await file.stat();
    const own = process.getuid?.() ?? uid;
    if (uid !== own && uid !== 0) throw new Error(`it belongs to another user (${uid})`);
    if ((mode & 0o022) !== 0) throw new Error('others than its owner may write it');
    if (size > maxBytes) throw new Error(`larger than ${maxBytes} bytes`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
