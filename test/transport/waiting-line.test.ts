import { AsyncLocalStorage } from 'node:async_hooks';
import fc from 'fast-check';
import t from 'tap';
import type { Passenger } from '../../src/transport/connection.ts';
import { WaitingLine } from '../../src/transport/waiting-line.ts';

const options = { origin: '', path: '/', method: 'GET' } as const;
const passenger = (): Passenger => ({ connection: undefined, place: undefined });

t.test('who has waited longest goes first, and who gave up not at all', (t) => {
  const step = fc.oneof(
    fc.constant('push' as const),
    fc.constant('shift' as const),
    fc.nat(9).map((index) => ({ leave: index })),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let left = 0;
      let leaving = 0;
      const line = new WaitingLine(() => left++);
      const expected: Passenger[] = [];
      for (const each of steps) {
        if (each === 'push') {
          const one = passenger();
          line.push(options, one);
          expected.push(one);
        } else if (each === 'shift') {
          const first = line.shift();
          if (first?.handler !== expected.shift()) return false;
          if (first !== undefined && first.handler.place !== undefined) return false;
        } else {
          const [one] = expected.splice(each.leave, 1);
          const place = one?.place;
          place?.leave();
          // A second time is no harm.
          place?.leave();
          if (one !== undefined) leaving++;
        }
        if (line.length !== expected.length || left !== leaving) return false;
      }
      return true;
    }),
  );
  t.end();
});

t.test('who waits keeps the asynchronous context of its caller', (t) => {
  const context = new AsyncLocalStorage<string>();
  const line = new WaitingLine(() => {});
  context.run('caller', () => line.push(options, passenger()));
  t.equal(
    line.shift()?.runInAsyncScope(() => context.getStore()),
    'caller',
  );
  t.end();
});
