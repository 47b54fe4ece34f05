// reviews: Express. v1 shows no stars, v2 black ones, v3 red ones; the version is a label of the workload.

import { inmesh } from '@inmesh/express';
import express from 'express';
import { createMesh } from 'inmesh';
import { report } from '../demo/report.ts';
import { type Hop, hop } from './hop.ts';
import type { RatingsAnswer } from './ratings.ts';

/** The answer of `GET /reviews/<book>`. */
export interface ReviewsAnswer {
  readonly reviews: readonly { readonly reviewer: string; readonly text: string; readonly stars?: number }[];
  readonly color?: 'black' | 'red';
  /** What the call to ratings came to; absent in v1, which makes none. */
  readonly ratings?: { readonly hop: Hop } | { readonly failed: string };
  readonly hop: Hop;
}

const reviews = [
  { reviewer: 'Beatrix', text: 'Two pairs of twins, one very long day. I laughed out loud on the tram, twice.' },
  {
    reviewer: 'Tomasz',
    text: 'Short and fast, and nobody in it ever asks the one question that would end it. Perfect.',
  },
];

const mesh = createMesh();
const version = mesh.workload.labels['version'];
const app = express();

app.use(inmesh(mesh));

app.get('/reviews/:book', async (request, response) => {
  const seen = hop(mesh, request.mesh);
  if (version === 'v1') {
    response.json({ reviews, hop: seen } satisfies ReviewsAnswer);
    return;
  }
  const color = version === 'v2' ? 'black' : 'red';
  const ratings = await ratingsOf(request.params.book);
  if (typeof ratings === 'string') {
    response.json({ reviews, color, ratings: { failed: ratings }, hop: seen } satisfies ReviewsAnswer);
    return;
  }
  const rated = reviews.map((review) => ({ ...review, stars: ratings.ratings[review.reviewer] ?? 0 }));
  response.json({ reviews: rated, color, ratings: { hop: ratings.hop }, hop: seen } satisfies ReviewsAnswer);
});

/** The ratings, or why there are none: reviews without stars are better than no reviews. */
async function ratingsOf(book: string): Promise<RatingsAnswer | string> {
  try {
    const reply = await mesh.fetch(`http://ratings:9080/ratings/${encodeURIComponent(book)}`);
    if (reply.ok) return (await reply.json()) as RatingsAnswer;
    await reply.body?.cancel();
    return `${reply.status} ${reply.headers.get('x-inmesh-error') ?? reply.statusText}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const server = await mesh.listen(app, { host: '127.0.0.1' });

report(mesh, server);
