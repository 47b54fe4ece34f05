import t from 'tap';
import type { ConnectionRoute } from '../../src/model/route.ts';
import { compileConnectionRoutes } from '../../src/route/connection.ts';

const rule = (name: string, conditions: Partial<ConnectionRoute> = {}): ConnectionRoute => ({
  name,
  destinations: [{ cluster: name, weight: 1 }],
  ...conditions,
});

t.test('the first rule that matches, by announced name and by address', async (t) => {
  const choose = compileConnectionRoutes([
    rule('exact', { sniHosts: ['a.example.com', 'B.example.com'] }),
    rule('wildcard', { sniHosts: ['*.example.com'] }),
    rule('subnet', { destinationSubnets: ['10.1.0.0/16', '10.9.9.9', 'fd00::/8'] }),
    rule('both', { sniHosts: ['db.test'], destinationSubnets: ['10.2.0.0/16'] }),
    rule('rest'),
    rule('never'),
  ]);
  for (const [host, sni, expected] of [
    ['x', 'a.example.com', 'exact'],
    ['x', 'b.EXAMPLE.com', 'exact'],
    ['x', 'c.example.com', 'wildcard'],
    ['x', 'd.c.example.com', 'wildcard'],
    ['x', 'example.com', 'rest'],
    ['10.1.2.3', undefined, 'subnet'],
    ['10.9.9.9', undefined, 'subnet'],
    ['10.9.9.8', undefined, 'rest'],
    ['fd12::1', undefined, 'subnet'],
    ['fe80::1', undefined, 'rest'],
    ['10.2.0.1', 'db.test', 'both'],
    ['10.2.0.1', undefined, 'rest'],
    ['x', 'db.test', 'rest'],
    ['x', undefined, 'rest'],
  ] as const) {
    t.equal(choose({ host, ...(sni === undefined ? {} : { sni }) })?.name, expected, `${host} ${sni}`);
  }
});

t.test('no rule, no route', async (t) => {
  t.equal(compileConnectionRoutes([])({ host: 'x' }), undefined);
  t.equal(compileConnectionRoutes([rule('tls', { sniHosts: ['a'] })])({ host: 'x' }), undefined);
});
