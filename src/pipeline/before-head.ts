import type { ServerResponse } from 'node:http';

/**
 * Runs `edit` when the head of a response is about to be written, whoever writes it: all headers that the
 * application gave are on the response by then.
 */
export function beforeHead(response: ServerResponse, edit: () => void): void {
  const writeHead = response.writeHead as (...given: unknown[]) => ServerResponse;
  const edited = (...given: unknown[]): ServerResponse => {
    response.writeHead = writeHead as ServerResponse['writeHead'];
    const headers = given.findLast((each) => typeof each === 'object' && each !== null);
    if (headers !== undefined) takeHeaders(response, headers);
    edit();
    return writeHead.apply(
      response,
      given.filter((each) => each !== headers),
    );
  };
  response.writeHead = edited as ServerResponse['writeHead'];
}

/** As `writeHead` reads them: an object, or a list of names and values. */
function takeHeaders(response: ServerResponse, headers: object): void {
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) response.setHeader(name, value as string);
    }
    return;
  }
  const pairs = Array.isArray(headers[0])
    ? (headers as [string, string][])
    : headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1]] as [string, string]] : []));
  for (const name of new Set(pairs.map(([each]) => each))) response.removeHeader(name);
  for (const [name, value] of pairs) response.appendHeader(name, value);
}
