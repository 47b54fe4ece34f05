import { expectOk, type OutboundVariant } from '../variant.ts';

/** Node's own fetch: what `mesh.fetch` is compared with. */
export const globalFetch: OutboundVariant = {
  name: 'fetch',
  base: 'fetch',
  async prepare([port]) {
    const url = `http://127.0.0.1:${port}/hello`;
    return {
      async call() {
        const response = await fetch(url);
        expectOk(response.status);
        await response.text();
      },
      // Its connections are not ours to close; they end with the process.
      close: async () => {},
    };
  },
};
