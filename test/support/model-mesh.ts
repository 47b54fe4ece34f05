import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { request } from 'undici';
import { createMesh, type Mesh, type MeshOptions } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { recordingLogger } from './recording-logger.ts';

/** A mesh whose configuration is a snapshot and not YAML; closed at the end of the test. */
export async function modelMesh(t: Test, snapshot: Snapshot, options: MeshOptions = {}): Promise<Mesh> {
  const mesh = createMesh({
    workload: { name: 'web', namespace: 'shop' },
    identity: false,
    logger: recordingLogger(),
    config: { name: 'model', run: async (sink) => sink.update(snapshot, { entries: [] }) },
    ...options,
  });
  const release = holdProcess();
  t.teardown(async () => {
    release();
    await mesh.close();
  });
  await mesh.ready();
  return mesh;
}

export interface Answer {
  readonly status: number;
  /** Names in lower case, several values joined with commas. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

export interface Asking {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One way of calling through a mesh. */
export type Way = (mesh: Mesh, url: string, asking?: Asking) => Promise<Answer>;

/** Every way of calling through a mesh. */
export const ways: Readonly<Record<string, Way>> = {
  async 'mesh.dispatcher'(mesh, url, { method = 'GET', headers = {}, body } = {}) {
    const reply = await request(url, {
      dispatcher: mesh.dispatcher,
      method: method as 'GET',
      headers,
      body: body ?? null,
    });
    const pairs = Object.entries(reply.headers).map(([name, value]) => [name, String(value)]);
    return { status: reply.statusCode, headers: Object.fromEntries(pairs), text: await reply.body.text() };
  },
  async 'mesh.fetch'(mesh, url, { method = 'GET', headers = {}, body } = {}) {
    const reply = await mesh.fetch(url, {
      method,
      headers,
      redirect: 'manual',
      ...(body === undefined ? {} : { body }),
    });
    const pairs = [...reply.headers].map(([name, value]) => [name, value.replaceAll(', ', ',')]);
    // The one header whose lines a fetch keeps apart.
    const cookies = reply.headers.getSetCookie().join(',');
    const all = { ...Object.fromEntries(pairs), ...(cookies === '' ? {} : { 'set-cookie': cookies }) };
    return { status: reply.status, headers: all, text: await reply.text() };
  },
  'mesh.agent': (mesh, url, asking) => overAgent(mesh.agent, url, asking, 'object'),
  'mesh.agent, headers as a list': (mesh, url, asking) => overAgent(mesh.agent, url, asking, 'list'),
};

async function overAgent(
  agent: Agent,
  url: string,
  { method = 'GET', headers = {}, body }: Asking = {},
  shape: 'object' | 'list',
): Promise<Answer> {
  const given = shape === 'object' ? headers : { host: new URL(url).host, ...headers };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = httpRequest(url, {
      agent,
      method,
      headers: (shape === 'object' ? given : Object.entries(given).flat()) as Record<string, string>,
    });
    outgoing.on('response', resolve).on('error', reject).end(body);
  });
  const pairs = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  return { status: response.statusCode ?? 0, headers: Object.fromEntries(pairs), text: await text(response) };
}
