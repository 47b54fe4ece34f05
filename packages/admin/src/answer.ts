import type { IncomingMessage, ServerResponse } from 'node:http';

/** What an endpoint answers. */
export interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A mistake of who asks. */
export class BadRequest extends Error {
  readonly status: number;

  constructor(message: string, status = 400) {
    super(message);
    this.name = 'BadRequest';
    this.status = status;
  }
}

export const text = (body: string, status = 200): Answer => ({ status, type: 'text/plain; charset=utf-8', body });

export const json = (value: unknown, status = 200): Answer => ({
  status,
  type: 'application/json',
  body: `${JSON.stringify(value, plain, 2)}\n`,
});

/** JSON knows neither maps nor infinite numbers. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value);
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  return value;
}

/** Nothing of these pages is for other sites, for frames, or to be kept. */
const always: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

export function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { body, headers, status = 200, type = 'text/plain; charset=utf-8' } = answer;
  // What was sent along and nobody reads would stand before the next request.
  if (!request.complete && !request.readableEnded) response.setHeader('connection', 'close');
  response.writeHead(status, {
    ...always,
    'content-type': type,
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Reads a body up to a bound. @throws BadRequest 413 for more. */
export async function readBody(request: IncomingMessage, maxBytes = 65_536): Promise<string> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const tooLarge = (maxBytes: number): BadRequest => new BadRequest(`the body must be at most ${maxBytes} bytes`, 413);
