import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { fakeControlPlane } from './support/fake-control-plane.ts';
import { plainCompiler, resource, runSource, workload } from './support/running-source.ts';

const folder = mkdtempSync(join(tmpdir(), 'xds-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

t.test(
  'CP-02: away at the start: begins with what an earlier run kept, and says so until there is an answer',
  async (t) => {
    const lastGoodFile = join(folder, 'good');
    const stranger = join(folder, 'stranger');
    writeFileSync(stranger, 'precious');
    symlinkSync(stranger, `${lastGoodFile}.new`);
    const plane = await fakeControlPlane(t);
    const options = { server: { address: plane.address, tls: false as const }, lastGoodFile };
    const first = runSource(t, options);
    const stream = await plane.accept();
    stream.send('clusters', { resources: [resource('clusters', 'a', { refs: ['a'] }), resource('clusters', 'b')] });
    stream.send('listeners', { resources: [resource('listeners', 'l')] });
    await stream.next('endpoints');
    stream.send('endpoints', { resources: [resource('endpoints', 'a')] });
    await first.until('a snapshot', () => first.updates.length === 1);
    await first.stop();
    await plane.close();
    t.equal(statSync(lastGoodFile).mode & 0o777, 0o600);
    t.equal(first.told().length, 4);
    t.equal(readFileSync(stranger, 'utf8'), 'precious', 'a link that somebody put there is not followed');

    const second = runSource(t, options);
    await second.until('what was kept', () => second.updates.length === 1);
    t.same(second.told(), first.told());
    await second.until('the word', () => second.lost.length === 2);
    t.match(second.lost[1]?.message, /is out of reach: .*; in force is what was kept of an earlier run/);
    const again = await fakeControlPlane(t, { port: Number(plane.address.split(':')[1]) });
    let back: Awaited<ReturnType<typeof again.accept>> | undefined;
    void again.accept().then((accepted) => (back = accepted));
    await second.until('the stream', () => {
      second.clock.advance(1_000);
      return back !== undefined;
    });
    t.equal((await back?.next('clusters'))?.delta.initial_resource_versions?.size, 0);
    back?.send('clusters', { resources: [resource('clusters', 'b')] });
    back?.send('listeners', { resources: [resource('listeners', 'l')] });
    await second.until('the news', () => !second.told().includes('clusters a'));
    t.equal(second.lost.length, 2);
    await second.stop();

    const good = readFileSync(lastGoodFile);
    const bytes = (change: (copy: Buffer) => Buffer): Buffer => change(Buffer.from(good));
    await again.close();
    for (const [what, change, reason] of [
      [
        'damaged',
        () =>
          writeFileSync(
            lastGoodFile,
            bytes((copy) => copy.fill(1, 40, 42)),
          ),
        /is damaged/,
      ],
      ['cut', () => writeFileSync(lastGoodFile, good.subarray(0, 20)), /is damaged/],
      ['of others', () => writeFileSync(lastGoodFile, good), /is of another workload or control plane/],
      ['writable', () => chmodSync(lastGoodFile, 0o666), /others than its owner may write it/],
      // Only root can give files away.
      ...(process.getuid?.() === 0
        ? [['given', () => chownSync(lastGoodFile, 12_345, 0), /it belongs to another user \(12345\)/] as const]
        : []),
      ['gone', () => rmSync(lastGoodFile), /cannot be read: ENOENT/],
    ] as const) {
      change();
      const other = {
        workload: { ...workload, name: what === 'of others' ? 'other' : 'web' },
        credentials: () => undefined,
      };
      const running = runSource(t, options, plainCompiler, other);
      await running.until(what, () => running.lost.length === 2);
      t.match(running.lost[1]?.message, reason, what);
      t.equal(running.updates.length, 0);
      await running.stop();
    }
  },
);
