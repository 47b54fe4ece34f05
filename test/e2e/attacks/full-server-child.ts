// One server of the matrix, in a process of its own: `<way> <limits as JSON>`; asked for its memory over IPC.
import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { InboundLimits } from '../../../src/index.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { guard } from '../../support/guarded-servers.ts';
import { readFixture } from './catalogue.ts';
import { frameworkWays, grpcWays, meshWays, type Way } from './ways.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const [name = '', given = '{}'] = process.argv.slice(2);
const limits = JSON.parse(given) as Partial<InboundLimits>;
const isCalled = (way: Way): boolean => way.name === name;
const way =
  [...meshWays, ...grpcWays, ...frameworkWays].find(isCalled) ??
  // Only where they are asked for: they take a while to load.
  (await import('./further-ways.ts')).furtherWays.find(isCalled);
if (way === undefined) throw new Error(`there is no way ${JSON.stringify(name)}`);

const authority = makeAuthority();
const credentials = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const adapter: Parameters<typeof guard>[0] = {
  name,
  serve: async ({ mesh }) => {
    const { securePort, plainPort, close } = await way.server.serve(mesh, credentials, limits);
    return { port: securePort, plainPort, close };
  },
};
const server = await guard(adapter, authority, { limits });
server.use(readFixture('configs').configs?.['allow-all'] ?? '');

/** Where the kernel does not tell, what the process has now. */
function peak(): number {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) * 1_024;
  } catch {}
  return process.memoryUsage.rss();
}

function beginPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {}
}

process.on('message', (ask) => {
  if (ask === 'settle') {
    collect();
    beginPeak();
    process.send?.({ value: process.memoryUsage.rss() });
  } else process.send?.({ value: peak() });
});
process.on('disconnect', () => process.exit());
process.send?.({ value: server.plainPort });
