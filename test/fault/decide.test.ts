import t from 'tap';
import { abortAnswer } from '../../src/fault/answer.ts';
import { decideFault, planFault } from '../../src/fault/decide.ts';
import { isGrpc } from '../../src/lib/grpc-answer.ts';
import type { Fault } from '../../src/model/route.ts';

const delay = (percent: number, delayMs = 5_000): Fault => ({ level: 'call', delay: { delayMs, percent } });
const abort = (percent: number, status = 500): Fault => ({ level: 'call', abort: { status, percent } });

t.test('a fault that can never happen is no fault', async (t) => {
  t.equal(planFault(undefined), undefined);
  t.equal(planFault({ level: 'call' }), undefined);
  t.equal(planFault(delay(0)), undefined);
  t.equal(planFault(delay(100, 0)), undefined, 'as in Envoy a delay of nothing is none');
  t.equal(planFault(abort(0)), undefined);
  t.equal(planFault(abort(0.00009)), undefined, 'less than a millionth');
  t.match(planFault(delay(50)), { delayMs: 5_000, delayShare: 500_000, abortShare: 0 });
  t.match(planFault({ ...delay(0), ...abort(10) }), { delayMs: 0, abortShare: 100_000 });
});

t.test('one number decides delay and abort, each by its own percentage', async (t) => {
  const both: Fault = { ...delay(50), ...abort(10, 503) };
  const table: readonly (readonly [fault: Fault, random: number, delayMs: number, status: number | undefined])[] = [
    [delay(50), 0.49, 5_000, undefined],
    [delay(50), 0.5, 0, undefined],
    [abort(10), 0.0999, 0, 500],
    [abort(10), 0.1, 0, undefined],
    [both, 0.05, 5_000, 503],
    [both, 0.3, 5_000, undefined],
    [both, 0.9, 0, undefined],
    [{ ...delay(10), ...abort(50) }, 0.3, 0, 500],
    [abort(100), 0.999999, 0, 500],
  ];
  for (const [fault, random, delayMs, status] of table) {
    const decision = decideFault(fault, random);
    t.same([decision.delayMs, decision.abort?.status], [delayMs, status], `${JSON.stringify(fault)} at ${random}`);
  }
});

t.test('what counts as gRPC', async (t) => {
  const yes = ['application/grpc', 'application/grpc+proto', 'application/grpc+json'];
  const no = [
    undefined,
    '',
    'application/grpc-web',
    'application/grpc-web+proto',
    'application/json',
    'application/grp',
  ];
  for (const type of yes) t.equal(isGrpc(type), true, type);
  for (const type of no) t.equal(isGrpc(type), false, String(type));
});

t.test('the answer to an aborted call', async (t) => {
  const plain = abortAnswer({ status: 418, percent: 1 }, false);
  t.match(plain, { status: 418, flag: 'FI', headers: { 'content-type': 'text/plain', 'content-length': '18' } });
  t.equal(String(plain.body), 'fault filter abort');
  t.same(Object.keys(plain.headers).sort(), ['content-length', 'content-type'], 'no server, no date');
  const configured = abortAnswer({ status: 200, grpcStatus: 4, percent: 1 }, true);
  t.match(configured, { status: 200, body: undefined, flag: 'FI' });
  t.same(configured.headers, {
    'content-type': 'application/grpc',
    'grpc-status': '4',
    'grpc-message': 'fault filter abort',
  });
  t.equal(abortAnswer({ status: 200, grpcStatus: 4, percent: 1 }, false).status, 200, 'whoever does not speak gRPC');
});

t.test('an HTTP status stands for a gRPC status in the answer to a gRPC call', async (t) => {
  const table: Readonly<Record<number, string>> = {
    400: '13',
    401: '16',
    403: '7',
    404: '12',
    429: '14',
    502: '14',
    503: '14',
    504: '14',
    500: '2',
    418: '2',
    200: '2',
  };
  for (const [status, code] of Object.entries(table)) {
    const answer = abortAnswer({ status: Number(status), percent: 1 }, true);
    t.same([answer.status, answer.headers['grpc-status']], [200, code], status);
  }
});
