import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import { bucketBoundsMs } from 'inmesh';
import t from 'tap';
import { page } from '../src/page.ts';
import { type PageStats, pageRows } from '../src/page-figures.ts';

function inside(tag: string): string {
  const from = page.body.indexOf(`<${tag}>`) + tag.length + 2;
  return page.body.slice(from, page.body.indexOf(`</${tag}>`, from));
}

t.test('the page runs its own script and style, and nothing else', async (t) => {
  const policy = page.headers?.['content-security-policy'] ?? '';
  for (const tag of ['script', 'style']) {
    const hash = createHash('sha256').update(inside(tag)).digest('base64');
    t.match(policy, `${tag}-src 'sha256-${hash}'`);
  }
  t.notMatch(policy, 'unsafe');
  t.notMatch(page.body, /\b(src|href)=|@import|url\(|\bon[a-z]+=|innerHTML|document\.write|https?:/);
});

const reading = (requests: number, failed: number, bucket: number): PageStats => {
  const buckets = bucketBoundsMs.map((_, at) => (at === bucket ? requests : 0)).concat(0);
  const labels = { reporter: 'source', destinationService: 'a', destinationVersion: 'v1', sourcePrincipal: '' };
  return {
    requests: [
      { labels, requests, statuses: { 200: requests - failed, 503: failed }, buckets },
      {
        labels: { ...labels, reporter: 'destination', sourcePrincipal: 'spiffe://x' },
        requests: 1,
        statuses: { 404: 1 },
        buckets,
      },
    ],
  };
};

t.test('figures are those of the time between two readings', async (t) => {
  const at = bucketBoundsMs.indexOf(10);
  const [served, made] = pageRows(reading(100, 50, at), reading(300, 60, at), 4, bucketBoundsMs);
  t.match(made, { direction: 'out', name: 'a v1', total: 300, perSecond: 50, success: 0.95, p50: 8.75 });
  t.match(served, { direction: 'in', name: 'spiffe://x', total: 1, perSecond: 0, success: -1 });
  const [, first] = pageRows(undefined, reading(10, 0, at), 0, bucketBoundsMs);
  t.match(first, { total: 10, perSecond: 0, success: 1 });
});

t.test('its script reads a process and shows text, never markup', async (t) => {
  const evil = '<img src=x onerror=alert(1)>';
  const made: { tag: string; text: string }[] = [];
  const element = (tag = ''): object => {
    const self = {
      tag,
      text: '',
      hidden: false,
      className: '',
      dataset: {},
      set textContent(text: string) {
        self.text = text;
        made.push({ tag, text });
      },
      append: () => {},
      replaceChildren: () => {},
      addEventListener: () => {},
      closest: () => element('section'),
      tBodies: [{ replaceChildren: () => {} }],
    };
    return self;
  };
  const stats = {
    ...reading(1, 0, 0),
    workload: { name: evil, namespace: evil },
    config: { rejected: 1 },
    configVersion: evil,
    connections: { accepted: 0, plaintextRefused: 0, tlsRefused: 0, handshakesFailed: 0 },
    health: {
      ready: false,
      reasons: [evil],
      warnings: [],
      identity: { spiffeId: evil, state: 'valid', expirySeconds: 90 },
    },
    endpoints: [
      { address: evil, healthy: false, reason: evil, workload: evil, cluster: evil, inFlight: 0, ejections: 0 },
    ],
    breakers: [{ cluster: evil, state: 'open', failures: 1, calls: 1, openings: 1, refusals: 0 }],
  };
  const elements = new Map<string, object>();
  const asked: string[] = [];
  const done = Promise.withResolvers<void>();
  runInNewContext(inside('script'), {
    document: {
      createElement: element,
      getElementById: (id: string) => elements.get(id) ?? elements.set(id, element(id)).get(id),
      hidden: false,
      timeline: { currentTime: 0 },
    },
    location: { pathname: '/mesh' },
    window: { setInterval: () => {} },
    fetch: async (url: string) => {
      asked.push(url);
      setImmediate(() => done.resolve());
      return { ok: true, status: 200, json: async () => stats };
    },
  });
  await done.promise;
  t.same(asked, ['/mesh/stats']);
  const texts = made.map(({ text }) => text);
  t.ok(texts.filter((text) => text.includes(evil)).length >= 6, 'names are shown as they are, as text');
  t.ok(texts.includes('not ready'));
  t.notOk(
    texts.some((text) => text.startsWith('no answer')),
    texts.join('\n'),
  );
});
