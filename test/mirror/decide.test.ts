import t from 'tap';
import { decideMirrors, shadowHost } from '../../src/mirror/decide.ts';

t.test('one number is compared with the percentage of each mirror', async (t) => {
  const mirrors = [
    { cluster: 'all', percent: 100 },
    { cluster: 'half', percent: 50 },
    { cluster: 'little', percent: 0.1 },
    { cluster: 'never', percent: 0 },
  ];
  const table: readonly (readonly [random: number, taken: readonly string[]])[] = [
    [0, ['all', 'half', 'little']],
    [0.000999, ['all', 'half', 'little']],
    [0.001, ['all', 'half']],
    [0.499999, ['all', 'half']],
    [0.5, ['all']],
    [0.999999, ['all']],
  ];
  for (const [random, taken] of table) {
    t.same(
      decideMirrors(mirrors, random).map(({ cluster }) => cluster),
      taken,
      String(random),
    );
  }
  t.same(decideMirrors(undefined, 0), []);
});

t.test('the host of a copy', async (t) => {
  const table = {
    reviews: 'reviews-shadow',
    'reviews:9080': 'reviews-shadow:9080',
    'reviews.default.svc.cluster.local:80': 'reviews.default.svc.cluster.local-shadow:80',
    '10.0.0.7': '10.0.0.7-shadow',
    '10.0.0.7:80': '10.0.0.7-shadow:80',
    '[::1]': '[::1]-shadow',
    '[::1]:80': '[::1]-shadow:80',
  };
  for (const [host, shadow] of Object.entries(table)) t.equal(shadowHost(host), shadow);
});
