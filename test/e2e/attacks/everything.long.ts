import t from 'tap';
import { check } from './check.ts';
import { layers } from './layers.ts';
import { frameworkWays, grpcWays, meshWays, ownHttp2Ways } from './ways.ts';

const patience = { timeout: 900_000 };

t.test('the whole catalogue of attacks on mesh.listen', patience, async (t) => {
  await check(t, layers, meshWays, 800);
});

t.test('the whole catalogue of attacks on a port that serves gRPC as well', patience, async (t) => {
  await check(t, layers, grpcWays, 570);
});

t.test('the whole catalogue on frameworks and on servers of the application', patience, async (t) => {
  await check(t, layers, frameworkWays, 2_500);
});

// Without the floods: what bounds them there is Node's (docs/adapters.md).
t.test("the catalogue on servers of HTTP/2 of the application's own", patience, async (t) => {
  await check(
    t,
    layers.filter(({ heavy }) => heavy !== true),
    ownHttp2Ways,
    500,
  );
});
