import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from './free-ports.ts';
import { plainEnvironment } from './plain-environment.ts';
import { root } from './source-files.ts';
import type { Owner } from './upstream.ts';

/** Runs examples/traces with a collector on this port, to the end of all three; what `shop` has said. */
export async function runTracesExample(t: Owner, collectorPort: number): Promise<string> {
  const [orders = 0, stock = 0] = await freePorts(2);
  const folder = mkdtempSync(join(tmpdir(), 'traces-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const yaml = readFileSync(`${root}examples/traces/mesh/mesh.yaml`, 'utf8');
  const ports: Readonly<Record<string, number>> = { '4101': orders, '4102': stock, '9411': collectorPort };
  writeFileSync(
    join(folder, 'mesh.yaml'),
    yaml.replaceAll(/\b(4101|4102|9411)\b/g, (port) => String(ports[port])),
  );

  const start = (name: string, port = 0): ChildProcess => {
    const child = spawn(process.execPath, ['--conditions=@inmesh/source', `${root}examples/traces/${name}.ts`], {
      env: { ...plainEnvironment(), INMESH_CONFIG: folder, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    return child;
  };
  const servers = [start('stock', stock), start('orders', orders)];
  await Promise.all(servers.map((child) => once(child.stdout as NodeJS.ReadableStream, 'data')));
  const shop = start('shop');
  let said = '';
  shop.stdout?.on('data', (chunk: Buffer) => (said += chunk));
  await once(shop, 'close');
  for (const child of servers) child.kill('SIGTERM');
  await Promise.all(servers.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
  return said;
}
