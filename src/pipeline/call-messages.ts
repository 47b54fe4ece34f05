import type { IncomingMessage } from 'node:http';
import { putBack, takeArrived } from '../lib/arrived.ts';
import { isGrpc } from '../lib/grpc-answer.ts';

/** gRPC over HTTP/2, Length-Prefixed-Message: one byte that says whether it is compressed, four of length. */
const prefixBytes = 5;

/** Counts the messages in one direction of a call, however they are cut into pieces. Contents are not looked at. */
export class MessageReader {
  /** Messages that have begun: as Envoy's grpc_stats filter, one counts with its first byte. */
  count: number;
  #prefix: number;
  #length: number;

  constructor() {
    this.count = 0;
    this.#prefix = 0;
    this.#length = 0;
  }

  read(chunk: Uint8Array): void {
    const size = chunk.length;
    let at = 0;
    while (at < size) {
      if (this.#prefix === prefixBytes) {
        const left = size - at;
        if (this.#length > left) {
          this.#length -= left;
          return;
        }
        at += this.#length;
        this.#length = 0;
        this.#prefix = 0;
        continue;
      }
      const byte = chunk[at++] as number;
      if (this.#prefix++ === 0) this.count++;
      else this.#length = this.#length * 256 + byte;
      // One without content is over with its prefix.
      if (this.#prefix === prefixBytes && this.#length === 0) this.#prefix = 0;
    }
  }

  /** From the beginning: the same is sent once more. */
  restart(): void {
    this.count = 0;
    this.#prefix = 0;
    this.#length = 0;
  }
}

/** Where messages are counted: a series. */
export interface MessageSink {
  /** Those since the last time. */
  countMessages(requests: number, responses: number): void;
}

/**
 * The messages of one call of gRPC. They are told as they come once it is known to which series they belong
 * ({@link begin}), and else at its end ({@link tell}); each once, also where a request is sent several times.
 */
export class CallMessages<Call> {
  readonly #requests: MessageReader;
  readonly #responses: MessageReader;
  readonly #sinkOf: (call: Call) => MessageSink | undefined;
  #sink: MessageSink | undefined;
  #answers: boolean;
  #toldRequests: number;
  #toldResponses: number;

  /** `sinkOf` is asked when the call has found its place; nothing: that is known at its end alone. */
  constructor(sinkOf: (call: Call) => MessageSink | undefined) {
    this.#requests = new MessageReader();
    this.#responses = new MessageReader();
    this.#sinkOf = sinkOf;
    this.#sink = undefined;
    this.#answers = false;
    this.#toldRequests = 0;
    this.#toldResponses = 0;
  }

  /** The request is about to be sent, perhaps once more. */
  restart(): void {
    this.#requests.restart();
    this.#responses.restart();
    this.#answers = false;
  }

  /** The head of the response. One that is not of gRPC (a page of a proxy) has no messages. */
  answered(status: number, contentType: unknown): void {
    this.#answers = status === 200 && typeof contentType === 'string' && isGrpc(contentType);
  }

  readRequest(chunk: Uint8Array): void {
    this.#requests.read(chunk);
    if (this.#sink !== undefined) this.tell(this.#sink);
  }

  readResponse(chunk: Uint8Array): void {
    if (!this.#answers) return;
    this.#responses.read(chunk);
    if (this.#sink !== undefined) this.tell(this.#sink);
  }

  /** The call is where it stays: messages are told from now on. */
  begin(call: Call): void {
    this.#sink = this.#sinkOf(call);
    if (this.#sink !== undefined) this.tell(this.#sink);
  }

  /** Tells those that were not told. */
  tell(sink: MessageSink): void {
    const requests = Math.max(0, this.#requests.count - this.#toldRequests);
    const responses = Math.max(0, this.#responses.count - this.#toldResponses);
    if (requests === 0 && responses === 0) return;
    this.#toldRequests += requests;
    this.#toldResponses += responses;
    sink.countMessages(requests, responses);
  }
}

/** What a call of gRPC is answered with: a response of HTTP, or a stream of HTTP/2 itself. */
interface Answer {
  readonly statusCode?: number;
  readonly sentHeaders?: Readonly<Record<string, unknown>>;
  getHeader?(name: string): unknown;
  write(...given: unknown[]): boolean;
  end(...given: unknown[]): unknown;
}

type Counted = Pick<CallMessages<never>, 'answered' | 'readRequest' | 'readResponse'>;

/** Counts what is written into an answer, whoever writes it. */
export function countAnswer(messages: Counted, answer: unknown): void {
  const target = answer as Answer;
  // Of the prototype, or of whoever has put himself in front of it.
  const { end, write } = target;
  let ending = false;
  let asked = false;
  const count = (chunk: unknown, encoding: unknown): void => {
    if (chunk === null || chunk === undefined || typeof chunk === 'function') return;
    if (!asked) {
      asked = true;
      const { sentHeaders, statusCode } = target;
      // Headers that were given together with the status are not to be seen on a response of HTTP/1.
      const contentType = sentHeaders?.['content-type'] ?? target.getHeader?.('content-type') ?? unseen(target);
      messages.answered(Number(sentHeaders?.[':status'] ?? statusCode), contentType);
    }
    messages.readResponse(typeof chunk === 'string' ? Buffer.from(chunk, encodingOf(encoding)) : (chunk as Uint8Array));
  };
  target.write = function (this: unknown, ...given: unknown[]): boolean {
    if (!ending) count(given[0], given[1]);
    return write.apply(target, given);
  };
  target.end = function (this: unknown, ...given: unknown[]): unknown {
    if (!ending) count(given[0], given[1]);
    // Some of Node's write what they end with by their own `write`.
    ending = true;
    return end.apply(target, given);
  };
}

const unseen = ({ sentHeaders }: Answer): string | undefined =>
  sentHeaders === undefined ? 'application/grpc' : undefined;

const encodingOf = (encoding: unknown): BufferEncoding =>
  typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8';

/** Counts what comes in with a request of HTTP, before anybody reads it. */
export function countRequest(messages: Counted, request: IncomingMessage): void {
  // What somebody has read of it says nothing any more about where messages begin.
  if (request.readableDidRead || request.readableEncoding !== null) return;
  const early = takeArrived(request) as Buffer[];
  putBack(request, early);
  for (const piece of early) messages.readRequest(piece);
  const push = request.push;
  request.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk instanceof Uint8Array) messages.readRequest(chunk);
    return push.call(request, chunk, encoding);
  };
}
