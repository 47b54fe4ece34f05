// Shared by the four applications: a certificate authority, a service that the application answers
// for, and a caller. All three speak as a user of the packages would.
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const policy = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: hello, namespace: default }
spec:
  rules:
    - from: [{ source: { principals: [cluster.local/ns/default/sa/caller] } }]
      to: [{ operation: { methods: [GET], paths: [/hello] } }]
`;

const service = (port) => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: hello, namespace: default }
spec:
  hosts: [hello.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP }]
  endpoints: [{ address: 127.0.0.1, ports: { http: ${port} }, serviceAccount: callee }]
`;

/** `application(mesh)` gives an application that answers `GET /hello` with the caller's SPIFFE ID. */
exports.callThrough = async ({ application, createMesh, caSource, runAuthority }) => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-application-'));
  writeFileSync(join(folder, 'policy.yaml'), policy);
  const running = await runAuthority();

  const member = (serviceAccount) =>
    createMesh({
      workload: { name: serviceAccount, namespace: 'default', serviceAccount },
      config: folder,
      identity: caSource({
        url: running.url,
        trustRoot: running.authority.rootPem,
        spiffeId: `spiffe://cluster.local/ns/default/sa/${serviceAccount}`,
        token: running.authority.createToken({ namespace: 'default', serviceAccount }).token,
      }),
    });

  const callee = member('callee');
  const server = await callee.listen(await application(callee), { port: 0, host: '127.0.0.1' });
  writeFileSync(join(folder, 'service.yaml'), service(server.port));

  const caller = member('caller');
  await caller.ready(10_000);
  const response = await caller.fetch('http://hello/hello');
  process.stdout.write(`called as ${await response.text()} and got ${response.status}\n`);

  // Nothing may keep the process alive after this.
  await caller.close();
  await callee.close();
  await running.close();
  rmSync(folder, { recursive: true });
};
