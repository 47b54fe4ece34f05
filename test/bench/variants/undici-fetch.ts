import { Agent, fetch, setGlobalDispatcher } from 'undici';
import { expectOk, type OutboundVariant } from '../variant.ts';

/** The fetch of undici 8. */
export const undiciFetch: OutboundVariant = {
  name: 'undici.fetch',
  base: 'undici.request',
  async prepare([port]) {
    const agent = new Agent();
    setGlobalDispatcher(agent);
    const url = `http://127.0.0.1:${port}/hello`;
    return {
      async call() {
        const response = await fetch(url);
        expectOk(response.status);
        await response.text();
      },
      close: () => agent.close(),
    };
  },
};
