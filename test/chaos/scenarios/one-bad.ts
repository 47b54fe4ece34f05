// One of three endpoints is bad, in each way of being bad.

import { connect } from 'node:net';
import type { ChaosCase } from '../case.ts';
import type { Lab } from '../lab.ts';
import { load, pause, type Tally } from '../load.ts';
import { eager, noRetries } from '../resources.ts';
import { answer, echo, httpServer, rawServer, refusingPort } from '../servers.ts';
import { victim } from '../victims.ts';

/** Ways of being bad: each gives the port of an endpoint. */
const ways: Readonly<Record<string, (lab: Lab) => Promise<number>>> = {
  'refuses connections': () => refusingPort(),
  'resets what it accepts': async (lab) => (await lab.proxy(1, { kind: 'reset' })).port,
  'does not accept (black hole)': blackHole,
  'accepts and never answers': async (lab) => (await lab.proxy(1, { kind: 'blackHole' })).port,
  'answers 500': async (lab) => (await httpServer(lab, answer(500))).port,
  'breaks off before the headers': async (lab) =>
    (await rawServer(lab, (socket) => void socket.once('data', () => socket.resetAndDestroy()))).port,
  'ends what it accepts': async (lab) => (await lab.proxy(1, { kind: 'close' })).port,
  'speaks something else': async (lab) =>
    (await rawServer(lab, (socket) => void socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.9\r\n')))).port,
  'stops in the middle of the head': async (lab) =>
    (await rawServer(lab, (socket) => void socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-len'))))
      .port,
  'breaks off in the middle of the head': async (lab) =>
    (await rawServer(lab, (socket) => void socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-len'))))
      .port,
  'says 103 and nothing else': async (lab) =>
    (await rawServer(lab, (socket) => void socket.on('data', () => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'))))
      .port,
  'is slow': async (lab) =>
    (await httpServer(lab, (incoming, outgoing) => void setTimeout(() => echo(incoming, outgoing), 3_000))).port,
};

/** A frozen process whose backlog is full. */
async function blackHole(lab: Lab): Promise<number> {
  const frozen = await victim(lab, { backlog: 1 });
  frozen.freeze();
  for (let i = 0; i < 4; i++) {
    const socket = connect(frozen.port, '127.0.0.1').on('error', () => {});
    lab.teardown(() => socket.destroy());
  }
  await pause(200);
  return frozen.port;
}

const concurrency = 10;
const connectionPool = { tcp: { connectTimeout: '0.3s' } };
const policy = { outlierDetection: eager, connectionPool };

async function calls(lab: Lab, bad: number, setup: object): Promise<Tally> {
  const good = [(await httpServer(lab)).port, (await httpServer(lab)).port];
  const mesh = await lab.mesh({ endpoints: [...good, bad], policy, ...setup });
  return load(mesh, { count: lab.count(5_000, 1_000, 200), concurrency });
}

export const oneBad: ChaosCase = {
  id: 'ONE-BAD',
  fault: 'one of three endpoints is bad, in each way',
  expected: 'no failure with retries; without, at most 5 and those under way',
  quick: true,
  async run(lab) {
    const retries = { attempts: 2, perTryTimeout: '0.3s', retryOn: '5xx,reset,connect-failure' };
    for (const [name, make] of Object.entries(ways)) {
      const bad = await make(lab);
      const retried = await calls(lab, bad, { retries });
      lab.equal(`${name}: visible failures with retries`, retried.failures, 0);
      const plain = await calls(lab, bad, { retries: noRetries, timeout: '0.3s' });
      lab.atMost(`${name}: visible failures without`, plain.failures, 5 + concurrency);
    }
  },
};
