// A real SPIRE server and an authority of ours follow each other's bundle endpoint (https_spiffe).
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { bundleDocument, runAuthority } from '@inmesh/ca';
import { parseSpiffeBundle } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { freePorts } from '../../support/free-ports.ts';
import { spirePrograms } from './programs.ts';

interface SpireServer {
  readonly endpointUrl: string;
  /** Runs a command; gives what it prints. */
  command(...args: readonly string[]): string;
}

/** A server of `spire.example` that serves its bundle and follows that of `east.example`. */
async function startServer(t: Test, program: string, ours: { url: string; spiffeId: string }): Promise<SpireServer> {
  const folder = mkdtempSync(join(tmpdir(), 'spire-'));
  const [port = 0, bundlePort = 0] = await freePorts(2);
  const socket = join(folder, 'server.sock');
  writeFileSync(
    join(folder, 'server.conf'),
    `
server {
  bind_address = "127.0.0.1"
  bind_port = "${port}"
  socket_path = "${socket}"
  trust_domain = "spire.example"
  data_dir = "${folder}"
  log_level = "DEBUG"
  federation {
    bundle_endpoint {
      address = "127.0.0.1"
      port = ${bundlePort}
      refresh_hint = "10s"
    }
    federates_with "east.example" {
      bundle_endpoint_url = "${ours.url}"
      bundle_endpoint_profile "https_spiffe" { endpoint_spiffe_id = "${ours.spiffeId}" }
    }
  }
}
plugins {
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "${join(folder, 'data.sqlite3')}"
    }
  }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
}
`,
  );
  const child = spawn(program, ['run', '-config', join(folder, 'server.conf')], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said = (said + chunk).slice(-4_000)));
  t.teardown(async () => {
    const ended = once(child, 'exit');
    if (child.exitCode === null && child.kill('SIGKILL')) await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  const run = (...args: readonly string[]) =>
    spawnSync(program, [...args, '-socketPath', socket], { encoding: 'utf8', timeout: 20_000 });
  for (let i = 0; i < 1_200 && child.exitCode === null; i++) {
    if (run('healthcheck').status === 0) {
      return {
        endpointUrl: `https://127.0.0.1:${bundlePort}`,
        command: (...args) => {
          const { status, stderr, stdout } = run(...args);
          if (status !== 0) throw new Error(`spire-server ${args.join(' ')}: ${stdout}${stderr}`);
          return stdout;
        },
      };
    }
    await wait(100);
  }
  throw new Error(`spire-server does not become healthy: ${said}`);
}

t.test('a SPIRE server and an authority of ours federate, both ways', async (t) => {
  const programs = spirePrograms();
  if ('why' in programs) {
    t.comment(`skipped: ${programs.why}`);
    return;
  }
  const running = await runAuthority({ trustDomain: 'east.example', bundleEndpoint: { refreshMs: 1_000 } });
  t.teardown(running.close);
  const { authority, bundleEndpoint, federation } = running;
  const ours = { url: bundleEndpoint?.url ?? '', spiffeId: bundleEndpoint?.spiffeId ?? '' };
  const spire = await startServer(t, programs.server, ours);

  // Ours follows SPIRE's: the bundle for the beginning, then its own endpoint with an SVID of the server.
  const first = spire.command('bundle', 'show', '-format', 'spiffe');
  federation.add(
    {
      trustDomain: 'spire.example',
      url: spire.endpointUrl,
      profile: 'https_spiffe',
      endpointSpiffeId: 'spiffe://spire.example/spire/server',
    },
    first,
  );
  await federation.fetch('spire.example');
  const [status] = federation.status();
  t.match(status, { roots: 1, refreshMs: 10_000, problem: undefined });
  t.same(authority.trustBundles.get('spire.example'), parseSpiffeBundle(first, 'SPIRE').x509Authorities);
  const wrong = 'spiffe://spire.example/somebody/else';
  const relation = {
    trustDomain: 'spire.example',
    url: spire.endpointUrl,
    profile: 'https_spiffe',
    endpointSpiffeId: wrong,
  } as const;
  federation.add({ ...relation, name: 'wrong' }, first);
  await t.rejects(federation.fetch('wrong'), { message: /expected spiffe:.*else, presented spiffe:.*server/ });
  federation.remove('wrong');

  // SPIRE follows ours: given once, then refreshed from our endpoint.
  const file = join(mkdtempSync(join(tmpdir(), 'bundle-')), 'east.json');
  t.teardown(() => rmSync(join(file, '..'), { recursive: true }));
  writeFileSync(file, bundleDocument(authority).text());
  spire.command('bundle', 'set', '-id', 'spiffe://east.example', '-format', 'spiffe', '-path', file);
  const known = (): readonly string[] => {
    const text = spire.command('bundle', 'list', '-id', 'spiffe://east.example', '-format', 'spiffe');
    return parseSpiffeBundle(text, 'what SPIRE knows').x509Authorities;
  };
  t.same(known(), [authority.rootPem]);
  authority.rotation.prepare();
  for (let i = 0; i < 600 && known().length < 2; i++) await wait(100);
  t.same(
    [...known()].sort(),
    [...(authority.ownBundles.get('east.example') ?? [])].sort(),
    'SPIRE learned of the new root',
  );
});
