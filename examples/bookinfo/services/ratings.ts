// ratings: bare node:http.
import { createMesh } from 'inmesh';
import { report } from '../demo/report.ts';
import { type Hop, hop } from './hop.ts';

/** The answer of `GET /ratings/<book>`. */
export interface RatingsAnswer {
  /** Stars, 0 to 5, by reviewer. */
  readonly ratings: Readonly<Record<string, number>>;
  readonly hop: Hop;
}

const mesh = createMesh();

const server = await mesh.listen(
  (request, response) => {
    if (!request.url?.startsWith('/ratings/')) {
      response.writeHead(404).end();
      return;
    }
    const answer: RatingsAnswer = { ratings: { Beatrix: 5, Tomasz: 4 }, hop: hop(mesh, mesh.scopeOf(request)) };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  },
  { host: '127.0.0.1' },
);

report(mesh, server);
