import { Agent, request, setGlobalDispatcher } from 'undici';
import { expectOk, type OutboundVariant } from '../variant.ts';

/** What everything else is compared with. */
export const undiciRequest: OutboundVariant = {
  name: 'undici.request',
  base: 'undici.request',
  async prepare([port]) {
    const agent = new Agent();
    setGlobalDispatcher(agent);
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
