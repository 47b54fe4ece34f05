import t from 'tap';
import { type PageModel, renderPage } from '../../examples/bookinfo/services/page.ts';

const identity = (name: string): string => `spiffe://cluster.local/ns/bookinfo/sa/bookinfo-${name}`;
const hop = (service: string, version: string, caller: string | null) => ({
  service,
  version,
  caller,
  requestId: 'r-1',
});

const page: PageModel = {
  user: undefined,
  hop: hop('productpage', 'v1', null),
  details: {
    ok: true,
    ms: 2,
    value: {
      title: 'A <b>bold</b> title',
      author: 'Somebody',
      summary: 'Things happen.',
      facts: [['Pages', '10']],
      hop: hop('details', 'v1', identity('productpage')),
    },
  },
  reviews: {
    ok: true,
    ms: 3,
    value: {
      reviews: [{ reviewer: 'Ann', text: 'Good & short.', stars: 4 }],
      color: 'red',
      ratings: { hop: hop('ratings', 'v1', identity('reviews')) },
      hop: hop('reviews', 'v3', identity('productpage')),
    },
  },
};

t.test('the page shows stars in the colour of the version, and who called whom', async (t) => {
  const html = renderPage(page);
  t.match(html, /stars red/);
  t.equal(html.match(/class="on"/g)?.length, 4);
  t.equal(html.match(/class="off"/g)?.length, 1);
  t.match(html, /reviews v3/);
  t.equal(html.match(/called by/g)?.length, 3);
  t.match(html, /plain HTTP/);
  t.match(html, /<code>r-1<\/code>/);
  t.match(html, /Sign in as jason/);
});

t.test('nothing that came from elsewhere is taken as HTML', async (t) => {
  const html = renderPage({ ...page, user: '"><script>alert(1)</script>' });
  t.notMatch(html, /<b>bold/);
  t.notMatch(html, /<script>alert/);
  t.match(html, /&lt;script&gt;/);
  t.match(html, /Good &amp; short\./);
});

t.test('a part that did not answer leaves a note in its place', async (t) => {
  const failed = { ok: false, reason: '503 ERR_MESH_NO_HEALTHY_ENDPOINT' } as const;
  t.match(renderPage({ ...page, details: failed }), /details are not available right now/);
  t.match(renderPage({ ...page, reviews: failed }), /Reviews are not available right now/);
  const without = { ...page, reviews: withFailedRatings(page) };
  const html = renderPage(without);
  t.match(html, /Ratings are not available right now \(503/);
  t.match(html, /Good &amp; short/);
  t.notMatch(html, /class="on"/);
});

function withFailedRatings({ reviews }: PageModel): PageModel['reviews'] {
  if (!reviews.ok) return reviews;
  const plain = reviews.value.reviews.map(({ reviewer, text }) => ({ reviewer, text }));
  return { ...reviews, value: { ...reviews.value, reviews: plain, ratings: { failed: '503 no' } } };
}
