import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { AuthorizationVerdict, HeaderAction, HeaderMutation } from 'inmesh';

/** What may be in one of the answers inside of a `CheckResponse`. */
interface HttpAnswer {
  status: number;
  headers: HeaderMutation[];
  body: Uint8Array;
}

type Readers = Readonly<Record<number, (reader: BinaryReader) => void>>;

/** `google.rpc.Code` OK. */
const ok = 0;
const forbidden = 403;

/**
 * `envoy.service.auth.v3.CheckResponse`, read as Envoy reads it: the status decides; what an OK has
 * beside it changes request and response, and any other status is a denial with 403, unless it says
 * otherwise. Unknown fields are passed over, as protobuf has it.
 *
 * @throws Error when the bytes are no message, or ask for something that Envoy does not know either
 */
export function readCheckResponse(bytes: Uint8Array): AuthorizationVerdict {
  let code = ok;
  let allowed: Extract<AuthorizationVerdict, { kind: 'allow' }> = nothingChanged;
  let denied: HttpAnswer | undefined;
  let failed: HttpAnswer | undefined;
  eachField(bytes, {
    1: (reader) => eachField(reader.bytes(), { 1: (inner) => void (code = inner.int32()) }),
    2: (reader) => void (denied = readAnswer(reader.bytes())),
    3: (reader) => void (allowed = readOk(reader.bytes())),
    5: (reader) => void (failed = readAnswer(reader.bytes())),
  });
  if (code === ok) return allowed;
  if (failed !== undefined) {
    const { body, headers, status } = failed as HttpAnswer;
    return { kind: 'error', headers, body, ...(status === 0 ? {} : { status }) };
  }
  const { body, headers, status } = denied ?? { status: 0, headers: [], body: new Uint8Array(0) };
  return { kind: 'deny', status: status === 0 ? forbidden : status, headers, body };
}

const nothingChanged: Extract<AuthorizationVerdict, { kind: 'allow' }> = {
  kind: 'allow',
  requestHeaders: [],
  removedHeaders: [],
  responseHeaders: [],
};

/** `DeniedHttpResponse`. */
function readAnswer(bytes: Uint8Array): HttpAnswer {
  const answer: HttpAnswer = { status: 0, headers: [], body: new Uint8Array(0) };
  eachField(bytes, {
    1: (reader) => eachField(reader.bytes(), { 1: (inner) => void (answer.status = inner.int32()) }),
    2: (reader) => void answer.headers.push(readHeader(reader.bytes())),
    3: (reader) => void (answer.body = reader.bytes()),
  });
  return answer;
}

/** `OkHttpResponse`. */
function readOk(bytes: Uint8Array): Extract<AuthorizationVerdict, { kind: 'allow' }> {
  const requestHeaders: HeaderMutation[] = [];
  const removedHeaders: string[] = [];
  const responseHeaders: HeaderMutation[] = [];
  const set: (readonly [string, string])[] = [];
  const remove: string[] = [];
  eachField(bytes, {
    2: (reader) => void requestHeaders.push(readHeader(reader.bytes())),
    5: (reader) => void removedHeaders.push(reader.string()),
    6: (reader) => void responseHeaders.push(readHeader(reader.bytes())),
    7: (reader) => void set.push(readPair(reader.bytes(), 'utf8')),
    8: (reader) => void remove.push(reader.string()),
  });
  const query = set.length + remove.length === 0 ? {} : { query: { set, remove } };
  return { kind: 'allow', requestHeaders, removedHeaders, responseHeaders, ...query };
}

const actions: readonly HeaderAction[] = ['append', 'add-if-absent', 'overwrite', 'overwrite-if-exists'];

/**
 * `core.v3.HeaderValueOption`. Where it says neither `append` nor an `append_action` other than the
 * first, the header replaces what is there: Envoy's API says so of these messages, and a header that the
 * caller sent must not stand beside that of the authorizer.
 */
function readHeader(bytes: Uint8Array): HeaderMutation {
  let pair: readonly [string, string] = ['', ''];
  let append: boolean | undefined;
  let action = 0;
  eachField(bytes, {
    1: (reader) => void (pair = readPair(reader.bytes())),
    2: (reader) => {
      append = false;
      eachField(reader.bytes(), { 1: (inner) => void (append = inner.bool()) });
    },
    3: (reader) => void (action = reader.int32()),
  });
  const [name, value] = pair;
  if (append !== undefined) return { name, value, action: append ? 'append' : 'overwrite' };
  const known = actions[action];
  if (known === undefined)
    throw new Error(`the header ${JSON.stringify(name)} has the unknown append_action ${action}`);
  return { name, value, action: action === 0 ? 'overwrite' : known };
}

/** `core.v3.HeaderValue`, `core.v3.QueryParameter`. */
function readPair(bytes: Uint8Array, encoding: 'latin1' | 'utf8' = 'latin1'): readonly [string, string] {
  let key = '';
  let value = '';
  eachField(bytes, {
    1: (reader) => void (key = reader.string()),
    // Headers are bytes in HTTP, and a character stands for each.
    2: (reader) => void (value = Buffer.from(reader.bytes()).toString(encoding)),
    3: (reader) => void (value = Buffer.from(reader.bytes()).toString(encoding)),
  });
  return [key, value];
}

function eachField(bytes: Uint8Array, known: Readers): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const read = known[number];
    if (read === undefined) reader.skip(type, number);
    else read(reader);
  }
}
