import type { IncomingMessage } from 'node:http';
import type { ExplainRequest, Mesh } from 'inmesh';
import { type Answer, BadRequest, json, readBody, text } from './answer.ts';
import { withoutSecrets } from './config-dump.ts';

/** `GET /explain?url=…&method=…&header=name:value&direction=inbound`, or `POST` with the question as JSON. */
export async function explain(mesh: Mesh, request: IncomingMessage, query: URLSearchParams): Promise<Answer> {
  const question = request.method === 'POST' ? questionOf(await readBody(request)) : questionIn(query);
  const { direction = 'outbound', ...rest } = question;
  if (direction !== 'outbound' && direction !== 'inbound') {
    throw new BadRequest(`direction: must be outbound or inbound, got ${JSON.stringify(direction)}`);
  }
  if (typeof rest['url'] !== 'string') throw new BadRequest(`url: must be a text, got ${JSON.stringify(rest['url'])}`);
  try {
    const asked = rest as unknown as ExplainRequest;
    const answer =
      direction === 'inbound' ? await mesh.explain({ ...asked, direction }) : mesh.explain({ ...asked, direction });
    // Values that routes set, and what secret headers are compared with, are told to nobody.
    const shown = withoutSecrets(mesh.inspect().snapshot, answer) as { readonly text: string };
    return query.get('format') === 'text' ? text(`${shown.text}\n`) : json(shown);
  } catch (error) {
    throw new BadRequest(error instanceof Error ? error.message : String(error));
  }
}

type Question = { readonly direction?: unknown } & Readonly<Record<string, unknown>>;

function questionOf(body: string): Question {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new BadRequest('the body must be a question in JSON: {"url":"http://reviews:9080/"}');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BadRequest('the question must be an object: {"url":"http://reviews:9080/"}');
  }
  return value as Question;
}

function questionIn(query: URLSearchParams): Question {
  const url = query.get('url');
  if (url === null) throw new BadRequest('say what to explain: /explain?url=http://reviews:9080/');
  const given = new Map<string, string>();
  for (const header of query.getAll('header')) {
    const [name = '', ...rest] = header.split(':');
    const value = rest.join(':').trim();
    const before = given.get(name.trim());
    given.set(name.trim(), before === undefined ? value : `${before},${value}`);
  }
  const headers = Object.fromEntries(given);
  const method = query.get('method');
  const direction = query.get('direction');
  return {
    url,
    headers,
    ...(method === null ? {} : { method }),
    ...(direction === null ? {} : { direction }),
  };
}
