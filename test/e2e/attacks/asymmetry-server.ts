// The server whose cost per request is measured: a process of its own, asked over IPC.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { staticSource } from '../../../src/config/static-source.ts';
import { createMesh } from '../../../src/index.ts';
import { shopWeb } from '../../support/inbound.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const [yaml = ''] = process.argv.slice(2);
const logger = { debug() {}, info() {}, warn() {}, error() {} };
const mesh = createMesh({
  workload: shopWeb,
  config: staticSource(yaml, { workload: shopWeb }),
  identity: false,
  logger,
});
const { port } = await mesh.listen(
  (request, response) => {
    if (request.url === '/wait') return;
    request.resume().on('end', () => response.end('ok'));
  },
  { host: '127.0.0.1' },
);
process.on('message', (ask) => {
  if (ask === 'memory') {
    collect();
    const { arrayBuffers, external, heapUsed } = process.memoryUsage();
    process.send?.({ bytes: heapUsed + external + arrayBuffers });
  } else {
    const { system, user } = process.cpuUsage();
    process.send?.({ micros: system + user });
  }
});
process.on('disconnect', () => process.exit());
process.send?.({ port });
