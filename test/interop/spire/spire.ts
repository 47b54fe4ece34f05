import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Test } from 'tap';
import { freePorts } from '../../support/free-ports.ts';
import type { SpirePrograms } from './programs.ts';

/** A SPIRE server and an agent that has joined it. */
export interface Spire {
  readonly trustDomain: string;
  /** Of the Workload API. */
  readonly address: string;
  readonly socketPath: string;
  /** Registers a workload that is known by the path of its program; gives the id of the entry. */
  entry(spiffeId: string, program: string, options?: EntryOptions): string;
  removeEntry(id: string): void;
  /** Runs a command of the server: `bundle`, `set` …; gives what it prints. */
  server(...args: readonly string[]): string;
  /** Runs a command of the agent against a Workload API. */
  agent(...args: readonly string[]): { readonly ok: boolean; readonly out: string };
  stopAgent(): Promise<void>;
  startAgent(): Promise<void>;
  /** A folder of its own, for files that commands read. */
  readonly folder: string;
}

/** Options of an entry. */
export interface EntryOptions {
  /** Life of its X.509-SVIDs, seconds. */
  readonly ttl?: number;
  readonly hint?: string;
  readonly federatesWith?: string;
}

/** Starts both, with an agent that asks its server every second, and ends them with the test. */
export async function startSpire(t: Test, programs: SpirePrograms, trustDomain: string): Promise<Spire> {
  // A socket's path is short, so not below the test.
  const folder = mkdtempSync(join(tmpdir(), 'spire-'));
  const running = new Set<ChildProcess>();
  t.teardown(async () => {
    await Promise.all([...running].map(end));
    rmSync(folder, { recursive: true, force: true });
  });
  const end = async (child: ChildProcess): Promise<void> => {
    running.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const [port = 0] = await freePorts(1);
  const serverSocket = join(folder, 'server.sock');
  const agentSocket = join(folder, 'agent.sock');

  const start = async (
    program: string,
    config: string,
    more: readonly string[],
    socket: string,
  ): Promise<ChildProcess> => {
    const child = spawn(program, ['run', '-config', config, ...more], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (said = (said + chunk).slice(-4_000)));
    }
    for (let i = 0; i < 1_200 && child.exitCode === null; i++) {
      if (run(program, 'healthcheck', '-socketPath', socket).ok) return child;
      await wait(100);
    }
    throw new Error(`${program} does not become healthy: ${said}`);
  };

  writeFileSync(join(folder, 'server.conf'), serverConfig({ trustDomain, port, folder, serverSocket }));
  await start(programs.server, join(folder, 'server.conf'), [], serverSocket);
  const server = (...args: readonly string[]): string => {
    const { ok, out } = run(programs.server, ...args, '-socketPath', serverSocket);
    if (!ok) throw new Error(`spire-server ${args.join(' ')}: ${out}`);
    return out;
  };
  writeFileSync(join(folder, 'roots.pem'), server('bundle', 'show'));
  const host = `spiffe://${trustDomain}/host`;
  const { value } = JSON.parse(server('token', 'generate', '-spiffeID', host, '-output', 'json')) as { value: string };
  writeFileSync(join(folder, 'agent.conf'), agentConfig({ trustDomain, port, folder, agentSocket }));
  let token: readonly string[] = ['-joinToken', value];
  let agent: ChildProcess | undefined;
  const startAgent = async (): Promise<void> => {
    agent = await start(programs.agent, join(folder, 'agent.conf'), token, agentSocket);
    // Good once; from then on it has a certificate of its own.
    token = [];
  };
  await startAgent();

  return {
    trustDomain,
    folder,
    socketPath: agentSocket,
    address: `unix://${agentSocket}`,
    server,
    agent: (...args) => run(programs.agent, ...args),
    entry(spiffeId, program, { federatesWith, hint, ttl } = {}) {
      const more = [
        ...(ttl === undefined ? [] : ['-x509SVIDTTL', String(ttl)]),
        ...(hint === undefined ? [] : ['-hint', hint]),
        ...(federatesWith === undefined ? [] : ['-federatesWith', federatesWith]),
      ];
      const said = server(
        ...['entry', 'create', '-parentID', host, '-spiffeID', spiffeId],
        ...['-selector', `unix:path:${program}`, ...more, '-output', 'json'],
      );
      const { results } = JSON.parse(said) as { results: readonly { readonly entry: { readonly id: string } }[] };
      return results[0]?.entry.id ?? '';
    },
    removeEntry: (id) => void server('entry', 'delete', '-entryID', id),
    startAgent,
    stopAgent: async () => {
      if (agent !== undefined) await end(agent);
    },
  };
}

function run(program: string, ...args: readonly string[]): { readonly ok: boolean; readonly out: string } {
  const { status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 });
  return { ok: status === 0, out: status === 0 ? stdout : `${stdout}${stderr}` };
}

interface Places {
  readonly trustDomain: string;
  readonly port: number;
  readonly folder: string;
}

const serverConfig = ({ folder, port, serverSocket, trustDomain }: Places & { serverSocket: string }): string => `
server {
  bind_address = "127.0.0.1"
  bind_port = "${port}"
  socket_path = "${serverSocket}"
  trust_domain = "${trustDomain}"
  data_dir = "${folder}"
  log_level = "WARN"
}
plugins {
  DataStore "sql" {
    plugin_data { database_type = "sqlite3", connection_string = "${folder}/server.sqlite3" }
  }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data = {} }
}
`;

const agentConfig = ({ agentSocket, folder, port, trustDomain }: Places & { agentSocket: string }): string => `
agent {
  data_dir = "${folder}"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "${port}"
  socket_path = "${agentSocket}"
  trust_bundle_path = "${folder}/roots.pem"
  trust_domain = "${trustDomain}"
  experimental { sync_interval = "1s" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "${folder}" } }
  WorkloadAttestor "unix" {
    plugin_data { discover_workload_path = true, workload_size_limit = -1 }
  }
}
`;
