import type { Dispatcher } from 'undici';
import type { HttpAnswer, HttpQuestion } from './ext-authz/http-check.ts';
import { ownCall } from './pipeline/client-call.ts';

/** How external authorizers are called: through the mesh, as every service is. */
export interface AuthorizerCalls {
  /** @param service `host:port` */
  http(service: string, question: HttpQuestion, signal: AbortSignal): Promise<HttpAnswer>;
  /** One message for one, by gRPC. Rejects unless the status is OK. */
  unary(
    service: string,
    method: string,
    message: Uint8Array,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Uint8Array>;
}

/** Longest body of an answer. */
const maxAnswerBytes = 1_048_576;

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export function createAuthorizerCalls(dispatcher: Dispatcher): AuthorizerCalls {
  const send = (
    service: string,
    options: Pick<Dispatcher.RequestOptions, 'method' | 'path' | 'headers' | 'body' | 'signal'>,
  ): Promise<Dispatcher.ResponseData> =>
    dispatcher.request({
      ...options,
      origin: `http://${service}`,
      // The time for an answer is kept by who asks.
      headersTimeout: 0,
      bodyTimeout: 0,
      [ownCall]: true,
    } as Dispatcher.RequestOptions);

  return {
    async http(service, { body, headers, method, path }, signal) {
      const given = {
        method: method as Dispatcher.HttpMethod,
        path,
        headers: [...headers],
        body: body ?? null,
        signal,
      };
      const answer = await send(service, given);
      // The status has decided: a long page must not turn a denial into a failure, which `failOpen` lets pass.
      const whole = (await read(answer.body)) ?? Buffer.alloc(0);
      return { status: answer.statusCode, headers: listOf(answer.headers), body: whole };
    },
    async unary(service, method, message, timeoutMs, signal) {
      const frame = Buffer.alloc(5 + message.length);
      frame.writeUInt32BE(message.length, 1);
      frame.set(message, 5);
      const headers = {
        'content-type': 'application/grpc',
        te: 'trailers',
        // At most eight digits; longer waits are kept by who asks.
        'grpc-timeout': `${Math.min(Math.ceil(timeoutMs), 99_999_999)}m`,
      };
      const answer = await send(service, { method: 'POST', path: method, headers, body: frame, signal });
      const body = await read(answer.body);
      if (body === undefined) throw new Error(`the answer has more than ${maxAnswerBytes} bytes`);
      const status = statusOf(answer.trailers as Headers) ?? statusOf(answer.headers);
      if (answer.statusCode !== 200) throw new Error(`gRPC over HTTP answered ${answer.statusCode}`);
      if (status !== '0') throw new Error(`the answer has the gRPC status ${status ?? '(none)'}`);
      return messageIn(body);
    },
  };
}

function listOf(headers: Headers): HttpAnswer['headers'] {
  return Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((each) => [name.toLowerCase(), each] as const),
  );
}

/** Nothing when it is too long. */
async function read(body: Dispatcher.ResponseData['body']): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop ends the body.
    if (bytes > maxAnswerBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function statusOf(headers: Headers): string | undefined {
  return [headers['grpc-status']].flat()[0];
}

function messageIn(body: Buffer): Uint8Array {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) {
    throw new Error(`the answer of ${body.length} bytes is not one gRPC message without compression`);
  }
  return body.subarray(5);
}
