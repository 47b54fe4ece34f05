import { Agent, get } from 'node:http';
import type { OutboundVariant } from '../variant.ts';

/** One GET with node:http, its body read to the end. */
export function getWith(agent: Agent, url: URL): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`${response.statusCode}`))));
      response.on('error', reject);
      response.resume();
    }).on('error', reject);
  });
}

/** node:http with a keep-alive agent: what `mesh.agent` is compared with. */
export const nodeHttp: OutboundVariant = {
  name: 'http.get',
  base: 'http.get',
  async prepare([port]) {
    const agent = new Agent({ keepAlive: true });
    const url = new URL(`http://127.0.0.1:${port}/hello`);
    return {
      call: () => getWith(agent, url),
      close: async () => agent.destroy(),
    };
  },
};
