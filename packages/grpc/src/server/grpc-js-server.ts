import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Server, type ServerInterceptor } from '@grpc/grpc-js';
import { MeshError } from 'inmesh';

/**
 * The only place that knows something of grpc-js which it does not document: that its server takes one
 * stream with its headers, as its own HTTP/2 server gives them. Decision 0036 has the reasons, and the
 * versions with which this was tested are the peer range of this package.
 */
type TakeStream = (
  this: Server,
  interceptors: readonly unknown[],
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
) => void;

const takeStreamOf = ({ prototype }: { readonly prototype: object }): TakeStream | undefined =>
  (prototype as { readonly _streamHandler?: TakeStream })._streamHandler;

/** @throws MeshError `ERR_MESH_OPTION_INVALID` where the installed grpc-js has another inside than it had */
export function checkGrpcJs(server: { readonly prototype: object } = Server): void {
  const takeStream = takeStreamOf(server);
  if (typeof takeStream === 'function' && takeStream.length === 3) return;
  const what = 'this version of @grpc/grpc-js takes streams in another way than those that @inmesh/grpc knows';
  throw new MeshError('ERR_MESH_OPTION_INVALID', `${what}: install one of its peerDependencies`);
}

// Checked whenever a server is made.
const takeStream = takeStreamOf(Server) as TakeStream;

type ServedCall = ReturnType<ServerInterceptor>;
type SendStatus = ServedCall['sendStatus'];

/**
 * grpc-js throws where a text of a status has half of a surrogate pair, outside of what a handler could catch:
 * the end of the process, at the wish of whoever is quoted in a text.
 */
const sendWellFormed: SendStatus = function (this: ServedCall, given): void {
  const { details } = given;
  const told = typeof details === 'string' ? { ...given, details: details.toWellFormed() } : given;
  (Object.getPrototypeOf(this) as { sendStatus: SendStatus }).sendStatus.call(this, told);
};

/** The nearest to the wire, so that it hears of every end. */
const wellFormed: ServerInterceptor = (_method, call) => {
  call.sendStatus = sendWellFormed;
  return call as ServedCall;
};
const interceptors: readonly ServerInterceptor[] = [wellFormed];

/** Serves one call whose metadata are `headers`. */
export function serveStream(server: Server, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  dropUnspeakable(headers);
  takeStream.call(server, interceptors, stream, headers);
}

/**
 * What metadata cannot carry is dropped here. grpc-js drops it as well, and writes name and value to
 * stderr: of every call, and the value may be a token. So is the one header of a connection that nghttp2 lets
 * in (RFC 9113 section 8.2.2): Node throws where a handler echoes it.
 */
function dropUnspeakable(headers: IncomingHttpHeaders): void {
  for (const name in headers) {
    if (name.charCodeAt(0) === 0x3a) continue;
    const value = headers[name];
    if (name === 'http2-settings' || !isKey(name) || (!name.endsWith('-bin') && !isText(value))) delete headers[name];
  }
}

/** gRPC over HTTP/2, Header-Name: digits, lower case, `_`, `-`, `.`. */
function isKey(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    const letter = code >= 0x61 && code <= 0x7a;
    const digit = code >= 0x30 && code <= 0x39;
    if (!letter && !digit && code !== 0x2d && code !== 0x2e && code !== 0x5f) return false;
  }
  return true;
}

/** ASCII-Value: from space to tilde. */
function isText(value: string | readonly string[] | undefined): boolean {
  if (typeof value !== 'string') return value?.every(isText) ?? false;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}
