import { Agent, interceptors, request, setGlobalDispatcher } from 'undici';
import { expectOk, type OutboundVariant } from '../variant.ts';

/** undici with its own retry interceptor: one of the features of a mesh. */
export const undiciRetry: OutboundVariant = {
  name: 'undici.request + retry interceptor',
  base: 'undici.request',
  async prepare([port]) {
    const agent = new Agent();
    setGlobalDispatcher(agent.compose(interceptors.retry({ maxRetries: 2 })));
    const url = `http://127.0.0.1:${port}/hello`;
    return {
      async call() {
        const { statusCode, body } = await request(url);
        expectOk(statusCode);
        await body.text();
      },
      close: () => agent.close(),
    };
  },
};
