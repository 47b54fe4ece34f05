import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bookinfo } from '../demo/bookinfo.ts';
import { describe } from '../demo/event-log.ts';
import { readPage, reviewsVersion } from '../demo/pages.ts';
import { topology } from '../demo/topology.ts';
import { type Check, eventually, expect, expectComplete, versionsOf, visit } from './check.ts';

/** Somebody edits a weight while traffic flows. */
export const changedWeight: Check = {
  name: 'a weight changed in the YAML takes effect while traffic flows',
  async run(bookinfo) {
    const saved = performance.now();
    edit(bookinfo, (yaml) => yaml.replace('weight: 90', 'weight: 0').replace('weight: 10', 'weight: 100'));
    const effect = await eventually('v1 still gets requests', 10_000, () => nowAlways(bookinfo, 'v3', 30));
    const visits = await visit(bookinfo, 200);
    expectComplete(visits);
    const { v3 } = versionsOf(visits);
    expect(v3 === visits.length, `only ${v3} of ${visits.length} requests went to v3`);
    return `90/10 became 0/100 after ${Math.round(effect - saved)} ms, then ${v3} of ${visits.length} went to v3`;
  },
};

/** When `count` pages in a row came from this version: the time of the first of them. */
async function nowAlways(bookinfo: Bookinfo, version: string, count: number): Promise<number | undefined> {
  let first: number | undefined;
  for (let i = 0; i < count; i++) {
    const { page } = await readPage(bookinfo.url);
    if (reviewsVersion(page) !== version) return undefined;
    first ??= performance.now();
  }
  return first;
}

/** Somebody makes a mistake. */
export const badYaml: Check = {
  name: 'bad YAML is refused by line, and the last good configuration stays',
  async run(bookinfo) {
    const good = readFileSync(trafficFile(bookinfo), 'utf8');
    const line = good.split('\n').findIndex((text) => text.includes('weight: 100')) + 1;
    const repaired = good
      .replace('weight: 100', 'weight: -')
      .replace('weight: 0', 'weight: 100')
      .replace('weight: -', 'weight: 0');
    const refused = refusals(bookinfo);
    try {
      edit(bookinfo, (yaml) => yaml.replace('weight: 100', 'weight: ninety'));
      const message = await eventually('not refused by every service', 10_000, () =>
        topology.every(({ name }) => refused.has(name)) ? [...refused.values()][0] : undefined,
      );
      expect(message.includes(`traffic.yaml:${line}:`), `line ${line} is not in: ${message}`);
      expect(message.includes('.weight') && message.includes('ninety'), `field and value are not in: ${message}`);
      const visits = await visit(bookinfo, 100);
      expectComplete(visits);
      expect(versionsOf(visits).v3 === visits.length, 'the refused configuration changed the routes');
      return message;
    } finally {
      edit(bookinfo, () => repaired);
      await eventually('the repaired file is not in force', 10_000, () => nowAlways(bookinfo, 'v1', 10));
    }
  },
};

/** By service: what it said about the configuration that it refused. */
function refusals(bookinfo: Bookinfo): Map<string, string> {
  const refused = new Map<string, string>();
  bookinfo.on('message', (from, message) => {
    if (message.kind === 'config-rejected') refused.set(from, describe(message.problems[0]));
  });
  return refused;
}

function trafficFile(bookinfo: Bookinfo): string {
  return join(bookinfo.folder.meshFolder, 'traffic.yaml');
}

/** Saves as a careful editor does: a new file in place of the old one. */
function edit(bookinfo: Bookinfo, change: (yaml: string) => string): void {
  const file = trafficFile(bookinfo);
  const before = readFileSync(file, 'utf8');
  const after = change(before);
  expect(after !== before, 'the edit changed nothing');
  writeFileSync(`${file}~`, after);
  renameSync(`${file}~`, file);
}
