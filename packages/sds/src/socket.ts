import { chmodSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { MeshError } from 'inmesh/identity';

/** A place for a Unix socket that nobody can reach before it has its mode. */
export interface SocketPlace {
  /** Where to listen: in a folder that is ours alone. */
  readonly bindPath: string;
  /** Gives the socket its mode, and moves it to its path in one step; a stale one there is replaced. */
  publish(): void;
  /** Takes the socket away, unless another has taken its path meanwhile. */
  remove(): void;
}

/** `sun_path` of Linux, without the final zero; macOS has four bytes less. */
const maxPathBytes = process.platform === 'darwin' ? 103 : 107;

/**
 * Makes ready for listening at `path`. A socket that is there and that nobody serves any more is
 * stale and will be replaced; anything else there is left alone.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` when something is served there, when there is a file
 * that is no socket, when the path is too long for a socket, or cannot be written
 */
export async function socketPlace(path: string, mode: number): Promise<SocketPlace> {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new MeshError('ERR_MESH_OPTION_INVALID', `serveSds: path: ${JSON.stringify(path)} ${reason}`, { cause });
  };
  if (process.platform === 'win32') refuse('is a Unix socket, which this system does not have');
  const folder = dirname(path);
  // Bound within a folder of its own, of mode 0700: between listening and chmod there is no moment for others.
  const name = join(folder, '.sds-XXXXXX', 's');
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(name)) > maxPathBytes) {
    refuse(`is too long for a Unix socket: ${maxPathBytes} bytes, of which its folder needs 14`);
  }
  let found: ReturnType<typeof kindOf>;
  try {
    found = kindOf(path);
  } catch (cause) {
    return refuse(`cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  if (found === 'other') refuse('is there already, and no socket');
  if (found === 'socket' && (await isServed(path))) refuse('is served by another process');
  let own: string;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o750 });
    own = mkdtempSync(join(folder, '.sds-'));
  } catch (cause) {
    return refuse(`cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  const bindPath = join(own, 's');
  let inode: number | undefined;
  return {
    bindPath,
    publish() {
      chmodSync(bindPath, mode);
      inode = lstatSync(bindPath).ino;
      renameSync(bindPath, path);
      rmSync(own, { recursive: true, force: true });
    },
    remove() {
      rmSync(own, { recursive: true, force: true });
      if (inode !== undefined && kindOf(path) === 'socket' && lstatSync(path).ino === inode) unlinkSync(path);
    },
  };
}

function kindOf(path: string): 'none' | 'socket' | 'other' {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 'none';
  return found.isSocket() ? 'socket' : 'other';
}

/** Whether somebody takes connections there. Without a clear no, it is a yes. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}
