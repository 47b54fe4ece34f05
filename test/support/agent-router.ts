import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import { agentRouter } from '../../src/agent-router.ts';
import {
  type AgentRequest,
  type AgentRouter,
  type AgentSettings,
  type AgentTarget,
  createAgent,
  type MeshAgent,
} from '../../src/host/agent.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { TestClient } from './client.ts';

/** A server on loopback that ends with the test. */
export async function listening(t: Test, handler: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

/** A socket connected to a port of loopback. */
export async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

export interface FakeMesh {
  readonly agent: MeshAgent;
  /** Requests as the router saw them. */
  readonly seen: AgentRequest[];
  /** How many sockets were made. */
  readonly connections: () => number;
  /** What `done` was told, in order: status, or the name and code of the error. */
  readonly outcomes: string[];
}

/**
 * An agent whose router sends every host to one port. `change` replaces parts of the target; it may
 * throw, or answer `direct`.
 */
export function fakeMesh(
  t: Test,
  port: number,
  change: (request: AgentRequest) => Partial<AgentTarget> | 'direct' = () => ({}),
  settings: Partial<AgentSettings> = {},
): FakeMesh {
  const seen: AgentRequest[] = [];
  const outcomes: string[] = [];
  let connections = 0;
  const router: AgentRouter = (request) => {
    seen.push(request);
    const changed = change(request);
    if (changed === 'direct') return 'direct';
    return {
      key: 'endpoint',
      path: request.path,
      headers: [],
      connect() {
        connections++;
        return connected(port);
      },
      done(status, error) {
        const { code, name } = (error ?? {}) as { code?: string; name?: string };
        outcomes.push(error === undefined ? String(status) : `${status} ${code ?? name}`);
      },
      ...changed,
    };
  };
  const agent = createAgent(router, { clock: systemClock, ...settings });
  t.teardown(() => agent.destroy());
  return { agent, seen, outcomes, connections: () => connections };
}

/** An agent over the routes of a client, whose endpoints are all at one port. Both end with the test. */
export function routedAgent(t: Test, client: TestClient, clock: Clock, random: () => number, port: number): MeshAgent {
  const series = (destinationService: string) =>
    client.metrics.series({
      reporter: 'source',
      sourceWorkload: 'test',
      sourcePrincipal: 'unknown',
      destinationService,
      destinationWorkload: 'unknown',
      destinationVersion: '',
    });
  const { select } = client.pipeline;
  const agent = createAgent(agentRouter({ clock, random, series, select, connect: () => connected(port) }), { clock });
  t.teardown(async () => {
    agent.destroy();
    await client.close();
  });
  return agent;
}
