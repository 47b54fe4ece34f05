// details: Fastify.
import { inmesh } from '@inmesh/fastify';
import Fastify from 'fastify';
import { createMesh } from 'inmesh';
import { report } from '../demo/report.ts';
import { type Hop, hop } from './hop.ts';

/** The answer of `GET /details/<book>`. */
export interface DetailsAnswer {
  readonly title: string;
  readonly author: string;
  readonly summary: string;
  /** Label and value, in the order to show them. */
  readonly facts: readonly (readonly [string, string])[];
  readonly hop: Hop;
}

const book = {
  title: 'The Comedy of Errors',
  author: 'William Shakespeare',
  summary:
    'Twin brothers who do not know of each other, each with a servant who has a twin of his own, spend one day in ' +
    'the same town. Everybody is taken for somebody else. If only they had carried certificates.',
  facts: [
    ['First printed', '1623'],
    ['Genre', 'Comedy'],
    ['Acts', '5'],
    ['Language', 'English'],
    ['Pages', '176'],
    ['Format', 'Paperback'],
  ] as const,
};

const mesh = createMesh();
const app = Fastify();
await app.register(inmesh, { mesh });

app.get('/details/:book', async (request): Promise<DetailsAnswer> => ({ ...book, hop: hop(mesh, request.mesh) }));

const server = await mesh.listen(app, { host: '127.0.0.1' });

report(mesh, server);
