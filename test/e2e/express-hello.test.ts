import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';

const root = join(import.meta.dirname, '..', '..');

/** Starts a program of the example on a port that the system chooses, and says which it is. */
async function start(t: { teardown(fn: () => unknown): unknown }, folder: string, file: string) {
  const child = spawn(process.execPath, ['--conditions=@inmesh/source', join(folder, file)], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  for await (const line of createInterface({ input: child.stdout })) {
    const port = / listens on port (\d+)$/.exec(line)?.[1];
    if (port !== undefined) return { child, port: Number(port) };
  }
  throw new Error(`${file} ended without listening`);
}

/** Asks the process to end, and waits until it did. */
async function stop(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

t.test('web finds hello by its name, and both end on SIGTERM', async (t) => {
  // A copy inside of the repository, so that the packages are found, with the port that hello got.
  mkdirSync(join(root, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(root, '.cache', 'express-hello-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(root, 'examples', 'express-hello'), folder, { recursive: true });

  const hello = await start(t, folder, 'hello.ts');
  const yaml = join(folder, 'mesh', 'hello.yaml');
  writeFileSync(yaml, readFileSync(yaml, 'utf8').replace('4001', String(hello.port)));
  const web = await start(t, folder, 'web.ts');

  const reply = await fetch(`http://127.0.0.1:${web.port}/`);
  t.equal(reply.status, 200);
  t.same(await reply.json(), { text: 'Hello, world.' });

  await stop(hello.child);
  const without = await fetch(`http://127.0.0.1:${web.port}/`);
  t.equal(without.status, 503, 'the mesh answers for a service that is gone, as a sidecar would');
  await without.body?.cancel();
  await stop(web.child);
});
