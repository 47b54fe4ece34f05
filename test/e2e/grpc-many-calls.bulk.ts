import type { EventEmitter } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { drained, serveEcho, unary } from '../../packages/grpc/test/support/served.ts';
import { makeAuthority } from '../support/certificates.ts';

const authority = makeAuthority();
const policies = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/test.Echo/Repeat]}}]}]}
---
apiVersion: inmesh.dev/v1
kind: OverloadPolicy
metadata: {name: places, namespace: shop}
spec: {concurrency: {maxRequests: 128}}
`;

/** How a call ended that nobody reads from. */
const endOf = (call: EventEmitter): Promise<unknown> =>
  new Promise((resolve) => call.on('error', () => {}).on('status', resolve));

t.test(
  '10,000 calls leave nothing behind: served, refused, cancelled and late ones',
  { timeout: 120_000 },
  async (t) => {
    const { client, mesh } = await serveEcho(t, {
      authority,
      yaml: policies,
      handlers: { collect: () => {} },
    });
    const caller = client('spiffe://cluster.local/ns/shop/sa/ann');
    const batch = async (): Promise<void> => {
      const all: Promise<unknown>[] = [];
      for (let i = 0; i < 64; i++) {
        if (i % 8 === 0) all.push(drained(caller.repeat('r')));
        else if (i % 8 === 1) {
          const call = caller.collect(() => {});
          all.push(endOf(call));
          call.write('x', () => call.cancel());
        } else if (i % 8 === 2) {
          all.push(endOf(caller.collect({ deadline: Date.now() + 5 }, () => {})));
        } else all.push(unary(caller, 'u'));
      }
      await Promise.all(all);
    };
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = async (): Promise<number> => {
      for (let i = 0; i < 3; i++) {
        collect();
        await new Promise((resolve) => setImmediate(resolve));
      }
      return process.memoryUsage().heapUsed;
    };
    for (let i = 0; i < 30; i++) await batch();
    const before = await heap();
    for (let i = 0; i < 157; i++) await batch();
    const grown = (await heap()) - before;
    t.ok(grown < 12 * 1_048_576, `${grown} bytes of heap for 10,048 calls`);
    while ((mesh.stats().overload?.active ?? 0) > 0) await new Promise((resolve) => setImmediate(resolve));
    t.equal(mesh.stats().overload?.active, 0, 'every place was given back');
    t.match(await unary(caller, 'u'), { code: status.OK });
  },
);
