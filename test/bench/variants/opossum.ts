import CircuitBreaker from 'opossum';
import { Agent, request, setGlobalDispatcher } from 'undici';
import { expectOk, type OutboundVariant } from '../variant.ts';

/** opossum around undici: timeout and breaker. Its percentiles are off, which is its fast setting. */
export const opossum: OutboundVariant = {
  name: 'opossum (timeout, breaker) + undici.request',
  base: 'undici.request',
  async prepare([port]) {
    const agent = new Agent();
    setGlobalDispatcher(agent);
    const url = `http://127.0.0.1:${port}/hello`;
    const breaker = new CircuitBreaker(
      async () => {
        const { statusCode, body } = await request(url);
        expectOk(statusCode);
        await body.text();
      },
      { timeout: 10_000, errorThresholdPercentage: 50, resetTimeout: 30_000, rollingPercentilesEnabled: false },
    );
    return {
      call: () => breaker.fire(),
      async close() {
        breaker.shutdown();
        await agent.close();
      },
    };
  },
};
