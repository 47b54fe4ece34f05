import type { IncomingMessage, ServerResponse } from 'node:http';
import t from 'tap';
import { type NodeApplication, requestListenerOf } from '../../src/host/node-http.ts';

t.test('a function is a request listener', async (t) => {
  const app = (): void => {};
  t.equal(await requestListenerOf(app), app);
});

t.test('a Fastify instance is made ready, then routes', async (t) => {
  const log: unknown[] = [];
  const app = {
    ready: async () => void log.push('ready'),
    routing: (request: IncomingMessage, response: ServerResponse) => void log.push(request, response),
  };
  const listener = await requestListenerOf(app);
  listener('request' as unknown as IncomingMessage & never, 'response' as unknown as ServerResponse & never);
  t.same(log, ['ready', 'request', 'response']);
});

t.test('anything else is refused by name', async (t) => {
  for (const app of [undefined, null, {}, 7, { ready: () => {} }]) {
    await t.rejects(requestListenerOf(app as unknown as NodeApplication), {
      code: 'ERR_MESH_OPTION_INVALID',
      message: /a function \(request, response\), an Express app or a Fastify instance, not /,
    });
  }
});
