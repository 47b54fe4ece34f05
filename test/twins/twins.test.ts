import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import type { VirtualHost } from '../../src/model/route.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { good } from '../config/support.ts';

/**
 * Each folder is one configuration and the snapshot that it stands for, whatever language it is written in. What a
 * change of the compiler changes here is what it changes for users: `UPDATE_TWINS=1 npx tap test/twins/twins.test.ts`
 * and `npx biome check --write test/twins` write the snapshots anew, for the difference to be read.
 */
const here = new URL('.', import.meta.url);
const update = process.env['UPDATE_TWINS'] === '1';
const twins = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory());

/** The process that they are for, beside what all tests have. */
const workload = { locality: 'eu/eu-1' };

/** What a snapshot says, and nothing of where it came from. */
function describe({ callers, clusters, hosts, wildcardHosts, outboundPolicy }: Snapshot): unknown {
  const names = new Map<VirtualHost, string[]>();
  for (const [name, host] of hosts) names.set(host, [...(names.get(host) ?? []), name].sort());
  const value = {
    hosts: [...names].map(([host, all]) => ({ ...host, names: all })),
    wildcardHosts,
    clusters: [...clusters.values()],
    outboundPolicy,
    callers,
  };
  const text = JSON.stringify(value, (key, each: unknown) => {
    if (key === 'provenance' || key === 'skipped') return undefined;
    if (each instanceof Uint8Array) return { base64: Buffer.from(each).toString('base64') };
    return each === Number.POSITIVE_INFINITY ? 'Infinity' : each;
  });
  return JSON.parse(text);
}

t.ok(twins.length >= 10, 'there are twins');

for (const { name } of twins) {
  t.test(`${name}: the snapshot is what it was`, async (t) => {
    const folder = new URL(`${name}/`, here);
    const found = describe(good(readFileSync(new URL('istio.yaml', folder), 'utf8'), { workload }).snapshot);
    const file = new URL('snapshot.json', folder);
    if (update) writeFileSync(file, `${JSON.stringify(found, null, 2)}\n`);
    t.ok(existsSync(file));
    t.same(found, JSON.parse(readFileSync(file, 'utf8')));
  });
}
