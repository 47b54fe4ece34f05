import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { MeshError } from '../errors.ts';
import { putBack, takeArrived } from '../lib/arrived.ts';
import type { CheckedBody } from '../model/external-authorizer.ts';
import type { CheckBody } from './service.ts';

/** Will a body follow the headers? */
export function hasBody({ headers, httpVersionMajor }: IncomingMessage): boolean {
  const length = headers['content-length'];
  if (length !== undefined) return length !== '0';
  // A body of HTTP/2 needs neither header; methods without any end with their headers.
  return headers['transfer-encoding'] !== undefined || httpVersionMajor === 2;
}

/**
 * Looks at the beginning of a body while it arrives, without reading it: whoever reads the request
 * afterwards gets all of it.
 *
 * @throws MeshError `ERR_MESH_BODY_TOO_LARGE` for more than `maxBytes`, unless a part is enough;
 *   `ERR_MESH_OPTION_INVALID` where somebody reads it already (a parser before the mesh): the authorizer would take it
 *   for an empty one
 */
export function peekBody(request: IncomingMessage, checked: CheckedBody): Promise<CheckBody> {
  const { allowPartial, asBytes, maxBytes } = checked;
  const announced = Number(request.headers['content-length'] ?? 0);
  if (!allowPartial && announced > maxBytes) return Promise.reject(tooLarge(maxBytes));
  const stream = streamOf(request);
  if (stream.readableEnded || stream.readableFlowing === true) return Promise.reject(readBefore);
  return new Promise((resolve, reject) => {
    const chunks = arrived(stream);
    let bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    let settled = false;
    const before = Object.hasOwn(stream, 'push') ? stream.push : undefined;
    const settle = (error?: Error): void => {
      settled = true;
      // That of whoever has looked before; else the method of the prototype again.
      if (before !== undefined) stream.push = before;
      else delete (stream as Partial<Readable>).push;
      stream.off('error', failed).off('close', failed);
      if (error !== undefined) reject(error);
      else {
        const all = Buffer.concat(chunks);
        resolve({ bytes: all.subarray(0, maxBytes), partial: all.length > maxBytes, asBytes });
      }
    };
    const look = (): void => {
      if (bytes > maxBytes && !allowPartial) settle(tooLarge(maxBytes));
      else if (request.complete || bytes > maxBytes) settle();
    };
    const failed = (): void => settle(gone('the client went away while its body was read'));

    look();
    if (settled) return;
    stream.on('error', failed).on('close', failed);
    const push = stream.push.bind(stream);
    stream.push = (chunk: Buffer | null, encoding) => {
      const more = push(chunk, encoding);
      if (chunk === null) settle();
      else {
        chunks.push(chunk);
        bytes += chunk.length;
        look();
      }
      // Goes on beyond what a stream keeps for a slow reader: there is none yet.
      return settled ? more : true;
    };
    // Requests of HTTP/2 servers begin to receive when they are read; this takes nothing. Others come by
    // themselves, and Node drops what nobody has begun to read.
    if (request.httpVersionMajor === 2) stream.read(0);
  });
}

/** Where the body comes from: a call of gRPC is no stream itself, it has one. */
function streamOf(request: IncomingMessage & { readonly stream?: Readable }): Readable {
  return typeof request.read === 'function' ? request : (request.stream as Readable);
}

/** What came before anybody looked: taken out and put back at once, before an end could be told. */
function arrived(stream: Readable): Buffer[] {
  const pieces = takeArrived(stream);
  putBack(stream, pieces);
  const encoding = stream.readableEncoding ?? 'utf8';
  return pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, encoding) : piece));
}

const tooLarge = (maxBytes: number): MeshError =>
  new MeshError('ERR_MESH_BODY_TOO_LARGE', `the body is longer than the ${maxBytes} bytes that an authorizer is shown`);

/** Made once, for all requests are like this one. */
const readBefore = new MeshError(
  'ERR_MESH_OPTION_INVALID',
  'an authorizer is to see the body of requests, and somebody reads it before the mesh: put the mesh first',
);

const gone = (message: string): MeshError => new MeshError('ERR_MESH_CLIENT_GONE', message);
