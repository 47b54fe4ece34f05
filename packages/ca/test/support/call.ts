import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { request } from 'node:https';

/** What is sent. */
export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly body?: string | Buffer;
  readonly headers?: OutgoingHttpHeaders;
  readonly ca: string;
  /** Client certificate and key, PEM. */
  readonly cert?: string;
  readonly key?: string;
  readonly host?: string;
  /** Whether the answer is text, not JSON. */
  readonly text?: boolean;
}

/** What came back. */
export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly json: Record<string, unknown>;
  readonly text: string;
}

/** One request over a connection of its own. */
export async function call(url: string, options: Call): Promise<Reply> {
  const { method = 'GET', path, body, headers, ca, cert, key } = options;
  const outgoing = request(new URL(path, url), {
    method,
    agent: false,
    ca,
    headers: { ...headers },
    ...(cert !== undefined && key !== undefined ? { cert, key } : {}),
  });
  outgoing.end(body);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  const json = options.text === true || text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  return { status: answer.statusCode ?? 0, headers: answer.headers, json, text };
}
