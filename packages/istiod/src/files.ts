import { MeshError, readBoundedFile, readPemCertificates } from 'inmesh/identity';

/** Largest file that is read. */
const maxBytes = 1_048_576;

/** A file of the pod cannot be read or used: another try may find it whole. */
export class FileTrouble extends MeshError {
  constructor(message: string) {
    super('ERR_MESH_CA', message);
  }
}

/** The certificates of a PEM text, or of a PEM file. @throws FileTrouble @throws MeshError `ERR_MESH_NO_IDENTITY` */
export async function readRoots(textOrPath: string, what: string): Promise<readonly string[]> {
  const text = textOrPath.includes('-----BEGIN') ? textOrPath : await readText(textOrPath, what);
  return readPemCertificates(text, what).map((root) => root.toString());
}

/**
 * The token of the pod. The API server writes it anew long before it expires.
 *
 * @throws FileTrouble that never has a character of the token
 */
export async function readToken(path: string): Promise<string> {
  const token = (await readText(path, 'the token')).trim();
  if (token === '') throw new FileTrouble(`the token cannot be used: ${path} is empty`);
  // Anything else would be refused by gRPC, with the whole of it in the message.
  if (!/^[\x21-\x7e]{1,65536}$/.test(token)) throw new FileTrouble(`the token cannot be used: ${path} holds no token`);
  return token;
}

/**
 * Namespace and service account of a token of Kubernetes, from its claims. Nothing is verified:
 * this says who we may expect to be, and not who anybody is.
 */
export function subjectOf(token: string): { readonly namespace: string; readonly serviceAccount: string } | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const subject = (claims as { readonly sub?: unknown } | null)?.sub;
    const [, namespace, serviceAccount] =
      /^system:serviceaccount:([^:/]+):([^:/]+)$/.exec(typeof subject === 'string' ? subject : '') ?? [];
    return namespace === undefined || serviceAccount === undefined ? undefined : { namespace, serviceAccount };
  } catch {
    return undefined;
  }
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readBoundedFile(path, maxBytes);
  } catch (cause) {
    throw new FileTrouble(`${what} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
