// Istio's own authorizer, samples/extauthz: allows what has `x-ext-authz: allow`.
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { freePorts } from '../../support/free-ports.ts';
import { root } from '../../support/source-files.ts';
import { peerFolder, runOnce, startPeer } from '../peers.ts';
import { asking, type Provider } from './asked.ts';

/** Built within the module that names the release of Istio and what it needs. */
function sample(): { readonly path: string } | { readonly why: string } {
  const found = peerFolder('istio-extauthz', (folder) => {
    for (const file of ['go.mod', 'go.sum']) {
      cpSync(join(root, 'test/interop/istiod/server', file), join(folder, file));
    }
    const args = ['build', '-o', 'extauthz', 'istio.io/istio/samples/extauthz/cmd/extauthz'];
    return runOnce('go', args, { cwd: folder, env: { GOFLAGS: '-mod=mod -p=2' } });
  });
  return 'why' in found ? found : { path: join(found.folder, 'extauthz') };
}

const fields = {
  envoyExtAuthzHttp: {
    includeRequestHeadersInCheck: ['x-ext-authz'],
    headersToUpstreamOnAllow: ['x-ext-authz-check-*', 'x-ext-authz-additional-header-override'],
    includeAdditionalHeadersInCheck: { 'x-ext-authz-additional-header-override': 'ours' },
    includeRequestBodyInCheck: { maxRequestBytes: 100, allowPartialMessage: true },
  },
  envoyExtAuthzGrpc: { includeRequestBodyInCheck: { maxRequestBytes: 100, allowPartialMessage: true } },
};

t.test("Istio's sample authorizer decides over HTTP and over gRPC", async (t) => {
  const program = sample();
  if ('why' in program) {
    t.comment(`skipped, there is no peer here: ${program.why}`);
    return;
  }
  const [http = 0, grpc = 0] = await freePorts(2);
  const peer = await startPeer(t, program.path, ['-http', String(http), '-grpc', String(grpc)], { port: grpc });
  const providers: readonly Provider[] = [
    { kind: 'envoyExtAuthzHttp', port: http, more: fields.envoyExtAuthzHttp },
    { kind: 'envoyExtAuthzGrpc', port: grpc, more: fields.envoyExtAuthzGrpc },
  ];
  const meshes: string[] = [];
  for (const provider of providers) {
    await t.test(provider.kind, async (t) => {
      const base = await asking(t, provider);
      const allow = { 'x-ext-authz': 'allow', 'x-ext-authz-additional-header-override': 'theirs' };
      const allowed = await fetch(`${base}/a?b=c`, { method: 'POST', headers: allow, body: 'hello' });
      t.equal(allowed.status, 200);
      const { body, headers } = (await allowed.json()) as { body: string; headers: Record<string, string> };
      t.equal(body, 'hello', 'the application reads what the authorizer was shown');
      t.equal(headers['x-ext-authz-check-result'], 'allowed');
      const overridden = provider.kind === 'envoyExtAuthzHttp' ? 'ours' : 'grpc-additional-header-override-value';
      t.equal(headers['x-ext-authz-additional-header-override'], overridden, 'not that of the caller');
      const received = headers['x-ext-authz-check-received'] ?? '';
      t.match(received, /hello/);
      t.match(
        received,
        provider.kind === 'envoyExtAuthzHttp' ? /^POST 127\.0\.0\.1:\d+\/a\?b=c/ : /path:\s*"\/a\?b=c"/,
      );

      const denied = await fetch(`${base}/a`, { headers: { 'x-ext-authz': 'deny' } });
      t.equal(denied.status, 403);
      t.equal(denied.headers.get('x-ext-authz-check-result'), 'denied');
      t.equal(await denied.text(), 'denied by ext_authz for not found header `x-ext-authz: allow` in the request');
      t.equal((await fetch(`${base}/free`)).status, 200, 'not asked about');
    });
    meshes.push(await asking(t, provider));
  }
  peer.kill('SIGKILL');
  if (peer.signalCode === null) await once(peer, 'exit');
  for (const base of meshes) {
    const refused = await fetch(`${base}/a`, { headers: { 'x-ext-authz': 'allow' } });
    t.equal(refused.status, 403);
    t.equal(refused.headers.get('x-inmesh-error'), 'ERR_MESH_AUTHORIZER');
  }
});
