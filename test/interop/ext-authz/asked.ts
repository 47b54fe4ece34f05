import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { grpcExternalAuthorization } from '@inmesh/ext-authz';
import { createMesh } from 'inmesh';
import type { Test } from 'tap';
import { echo } from '../envoy/echo.ts';

/** A provider on loopback, as MeshConfig says it. */
export interface Provider {
  readonly kind: 'envoyExtAuthzHttp' | 'envoyExtAuthzGrpc';
  readonly port: number;
  /** More fields of it, in JSON. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** Serves `echo` through a mesh that asks the provider about everything but `/free`; says where. */
export async function asking(t: Test, { kind, more = {}, port }: Provider): Promise<string> {
  const provider = { name: 'peer', [kind]: { service: 'authz.test', port: 8000, timeout: '5s', ...more } };
  const grpc = kind === 'envoyExtAuthzGrpc';
  const documents = [
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'istio', namespace: 'istio-system' },
      data: { mesh: JSON.stringify({ extensionProviders: [provider] }) },
    },
    {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'authz', namespace: 'shop' },
      spec: {
        hosts: ['authz.test'],
        ports: [{ number: 8000, name: grpc ? 'grpc' : 'http', protocol: grpc ? 'GRPC' : 'HTTP' }],
        resolution: 'STATIC',
        endpoints: [{ address: '127.0.0.1', ports: { [grpc ? 'grpc' : 'http']: port } }],
      },
    },
    {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'ask', namespace: 'shop' },
      spec: { action: 'CUSTOM', provider: { name: 'peer' }, rules: [{ to: [{ operation: { notPaths: ['/free'] } }] }] },
    },
  ];
  const config = t.testdir({ 'mesh.yaml': documents.map((each) => JSON.stringify(each)).join('\n---\n') });
  const workload = { name: 'web', namespace: 'shop' };
  const mesh = createMesh({ config, identity: false, workload, externalAuthorization: grpcExternalAuthorization() });
  t.teardown(() => mesh.close());
  const listening = await mesh.listen(echo, { port: 0, host: '127.0.0.1' });
  return `http://127.0.0.1:${listening.port}`;
}

/** One request to an authorizer, as it was on the wire. */
export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** What an authorizer over HTTP answers. */
export interface Answered {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: string;
}

/** An authorizer, and what it was asked last. */
export interface Recording<T> {
  readonly port: number;
  last(): T;
}

/** An authorizer over HTTP that keeps what it was asked last. */
export async function recordingAuthorizer(t: Test, answer: () => Answered): Promise<Recording<Asked | undefined>> {
  let last: Asked | undefined;
  // Its callers end idle connections: it would end one under the next request, now and then.
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    let body = '';
    request.setEncoding('latin1');
    request.on('data', (text: string) => (body += text));
    request.on('end', () => {
      const { headers, method = '', url = '' } = request;
      last = { method, url, headers, body };
      const given = answer();
      response.statusCode = given.status;
      for (const [name, value] of given.headers) response.appendHeader(name, value);
      response.end(given.body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, last: () => last };
}
