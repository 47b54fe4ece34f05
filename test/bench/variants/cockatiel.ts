import {
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  TimeoutStrategy,
  timeout,
  wrap,
} from 'cockatiel';
import { Agent, request, setGlobalDispatcher } from 'undici';
import { expectOk, type OutboundVariant } from '../variant.ts';

/**
 * cockatiel around undici: retry, breaker, timeout. The timeout is `Aggressive`, which does without
 * an abort signal for undici; with one it would be slower still.
 */
export const cockatiel: OutboundVariant = {
  name: 'cockatiel (retry, breaker, timeout) + undici.request',
  base: 'undici.request',
  async prepare([port]) {
    const agent = new Agent();
    setGlobalDispatcher(agent);
    const url = `http://127.0.0.1:${port}/hello`;
    const policy = wrap(
      retry(handleAll, { maxAttempts: 2, backoff: new ExponentialBackoff() }),
      circuitBreaker(handleAll, { halfOpenAfter: 30_000, breaker: new ConsecutiveBreaker(5) }),
      timeout(10_000, TimeoutStrategy.Aggressive),
    );
    return {
      call: () =>
        policy.execute(async () => {
          const { statusCode, body } = await request(url);
          expectOk(statusCode);
          await body.text();
        }),
      close: () => agent.close(),
    };
  },
};
