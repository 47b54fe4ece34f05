import type { Credentials } from 'inmesh/identity';
import t from 'tap';
import { identitySourceSuite } from '../../../test/suites/identity-source.ts';
import { keyPem, makeAuthority, makeKey } from '../../../test/support/certificates.ts';
import { workloadApiSource } from '../src/index.ts';
import { derOf, encodeX509Svids, keyDer } from './support/encode.ts';
import { serveWorkloadApi } from './support/workload-api.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const requestLimitMs = 12_345;

/** An answer with these credentials alone. */
function answerOf(credentials: Credentials, ...roots: readonly string[]): Buffer {
  return encodeX509Svids({
    svids: [
      {
        spiffeId: credentials.spiffeId,
        chain: derOf(credentials.certificateChainPem),
        key: keyDer(credentials.privateKeyPem),
        bundle: derOf(...roots),
      },
    ],
  });
}

identitySourceSuite(t, {
  name: 'Workload API',
  // The limit of a first message, and the time when a renewal should have come: no pauses of back-off.
  isLimit: (delayMs) => delayMs === requestLimitMs || delayMs >= 10_000,
  make: async (_t, clock) => {
    const authority = makeAuthority();
    const api = await serveWorkloadApi();
    let askedBefore = 0;
    let good: Buffer | undefined;
    return {
      source: workloadApiSource({ address: api.address, timeoutMs: requestLimitMs, random: () => 0.5, clock }),
      spiffeId: web,
      issue: async ({ extraRoots = [], notAfter = clock.wallNow() + 3_600_000 } = {}) => {
        good = answerOf(authority.issue(web, { notAfter }), authority.rootPem, ...extraRoots);
        api.answer('FetchX509SVID', good);
      },
      mismatch: async () =>
        api.answer(
          'FetchX509SVID',
          answerOf({ ...authority.issue(web), privateKeyPem: keyPem(makeKey()) }, authority.rootPem),
        ),
      garble: async () => api.answer('FetchX509SVID', Buffer.from('<html>')),
      cutOff: () => api.stop(),
      reconnect: () => api.start(),
      hang: async () => {
        askedBefore = api.calls.length;
        api.answer('FetchX509SVID', 'hang');
      },
      asked: () => api.calls.length > askedBefore,
      connections: api.open,
      close: api.close,
    };
  },
});
