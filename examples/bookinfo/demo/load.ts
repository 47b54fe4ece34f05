// The load generator: a client from outside the mesh, like a browser. It knows nothing of inmesh.
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithLauncher, tell } from './messages.ts';
import { isComplete, readPage } from './pages.ts';

const url = process.env['BOOKINFO_URL'] ?? 'http://127.0.0.1:9080/productpage';
const rate = Number(process.env['BOOKINFO_RATE'] ?? 40);
let pages = 0;
let incomplete = 0;
let failed = 0;

async function visit(): Promise<void> {
  const visited = await readPage(url);
  if (visited.status !== 200) failed++;
  else if (isComplete(visited.page)) pages++;
  else incomplete++;
}

endWithLauncher();
process.once('SIGTERM', () => process.exit(0));
setInterval(() => tell({ kind: 'load', load: { pages, incomplete, failed } }), 500);

// An open loop: a slow answer does not slow the next request down.
const started = performance.now();
for (let sent = 0; ; sent++) {
  const due = started + (sent * 1_000) / rate;
  if (due > performance.now()) await sleep(due - performance.now());
  void visit();
}
