import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import type { RouteMatch, VirtualHost } from '../../src/model/route.ts';
import { whyNoMatch } from '../../src/route/conditions.ts';
import { compileVirtualHost } from '../../src/route/matcher.ts';
import { routable } from '../support/routable.ts';
import { route } from '../support/snapshot.ts';

const random = seededRandom(7);
const pick = <T>(...options: readonly T[]): T => options[Math.floor(random() * options.length)] as T;
const somePath = (): string => `/${pick('a', 'b', 'ab', '')}${pick('', '/', '/x', '/x/y', 'c')}`;
const someMatch = (): RouteMatch => {
  const path = pick<RouteMatch>(
    { path: { kind: 'exact', value: somePath() } },
    { path: { kind: 'prefix', value: somePath() } },
    { path: { kind: 'prefix', value: somePath().toUpperCase() }, pathIgnoreCase: true },
    { path: { kind: 'exact', value: somePath().toUpperCase() }, pathIgnoreCase: true },
    { path: { kind: 'regex', value: `${somePath()}.?` } },
    { path: { kind: 'suffix', value: 'c' } },
    {},
  );
  const asks = path.path === undefined || random() < 0.5;
  return asks ? { ...path, headers: [{ name: 'v', match: { kind: 'exact', value: pick('1', '2') } }] } : path;
};

t.test('with many routes the first that matches wins, exactly as if each were asked in turn', async (t) => {
  let found = 0;
  for (let round = 0; round < 300; round++) {
    const routes = Array.from({ length: 5 + Math.floor(random() * 20) }, (_, i) =>
      route('c', { name: `r${i}`, matches: Array.from({ length: 1 + Math.floor(random() * 3) }, someMatch) }),
    );
    const { find } = compileVirtualHost({ name: 'h:80', routes });
    for (let i = 0; i < 20; i++) {
      const request = routable(somePath() + pick('', '?q'), { headers: pick<string[]>(['v', '1'], ['v', '2'], []) });
      const wanted = routes.find(({ matches }) => matches.some((match) => whyNoMatch(match, request) === undefined));
      const got = find(request);
      if (got?.route !== wanted) t.equal(got?.route.name, wanted?.name, `${request.path} in round ${round}`);
      if (got?.match !== undefined)
        t.equal(whyNoMatch(got.match, request), undefined, 'the match told is one that holds');
      if (wanted !== undefined) found++;
    }
  }
  t.ok(found > 1_000 && found < 6_000, `${found} requests had a route, the others had none`);
});

t.test('a lookup among thousands of paths asks none of the others', async (t) => {
  const routes = Array.from({ length: 5_000 }, (_, i) =>
    route('c', { name: `r${i}`, matches: [{ path: { kind: i % 2 === 0 ? 'exact' : 'prefix', value: `/p${i}/` } }] }),
  );
  const host: VirtualHost = { name: 'h:80', routes };
  const { find } = compileVirtualHost(host);
  t.equal(find(routable('/p4998/'))?.route.name, 'r4998');
  t.equal(find(routable('/p4999/x/y?z'))?.route.name, 'r4999');
  t.equal(find(routable('/p4998/x')), undefined);
});

t.test('what stands behind a route for everything is never reached, nor compiled', async (t) => {
  const broken = route('c', { name: 'broken', matches: [{ path: { kind: 'regex', value: '(' } }] });
  const { always, find } = compileVirtualHost({ name: 'h:80', routes: [route('c', { name: 'all' }), broken] });
  t.equal(always?.route.name, 'all');
  t.equal(find(routable('/'))?.route.name, 'all');
  t.throws(() => compileVirtualHost({ name: 'h:80', routes: [broken] }), { code: 'ERR_MESH_CONFIG_INVALID' });
  const first = route('c', { name: 'a', matches: [{ path: { kind: 'exact', value: '/a' } }] });
  const host = compileVirtualHost({
    name: 'h:80',
    routes: [first, route('c', { name: 'all', matches: [{}] }), broken],
  });
  t.equal(host.always, undefined);
  t.equal(host.find(routable('/a'))?.route.name, 'a');
  t.equal(host.find(routable('/b'))?.route.name, 'all');
});
