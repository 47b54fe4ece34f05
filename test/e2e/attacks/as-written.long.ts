import t from 'tap';
import { check } from './check.ts';
import { frameLayer } from './frame.ts';
import { fullLayer } from './full.ts';
import { furtherWays } from './further-ways.ts';
import { layers } from './layers.ts';
import { frameworkWays, meshWays } from './ways.ts';

const patience = { timeout: 900_000 };

t.test('cases of the catalogue as they are written: real time, full size', patience, async (t) => {
  await check(t, [fullLayer], [], 5, { full: true });
});

t.test('FRAME-015 as it is written, on every way over HTTP/1.1', patience, async (t) => {
  const ways = [...meshWays, ...frameworkWays, ...furtherWays].filter(({ speaks }) => speaks === 'HTTP/1.1');
  await check(t, [frameLayer], ways, 14, { full: true, only: ({ id }) => id === 'FRAME-015' });
});

t.test('floods as they are written, on mesh.listen', patience, async (t) => {
  const floods = ['JWT-034', 'H2-012', 'DOS-004', 'DOS-012'];
  const ways = meshWays.filter(({ speaks }) => speaks !== 'h2');
  await check(t, layers, ways, 5, { full: true, only: ({ id }) => floods.includes(id) });
});
