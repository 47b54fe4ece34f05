import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { IdentitySource } from '../../src/identity/source.ts';
import { type Application, createMesh, type Mesh, type MeshOptions } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { makeAuthority, type TestAuthority } from './certificates.ts';
import { type RecordingLogger, recordingLogger } from './recording-logger.ts';

/** What the namespace `shop` demands of callers. */
const peerAuthentication = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
`;
/** Every connection in the namespace is mutual TLS. */
export const strict: string = peerAuthentication('STRICT');
/** Mutual TLS and plaintext. */
export const permissive: string = peerAuthentication('PERMISSIVE');

/** Processes of one mesh that read one folder. */
export interface TestMesh {
  readonly folder: string;
  readonly authority: TestAuthority;
  /** A workload of namespace `shop`, ready. Its service account is its name. */
  join(name: string, options?: Partial<MeshOptions>): Promise<Mesh & { readonly log: RecordingLogger }>;
  /** Serves an application and registers it as `http://<name>/` for everybody. */
  serve(mesh: Mesh, app: Application): Promise<number>;
  /** Writes one file of the folder. */
  write(file: string, yaml: string): void;
}

/** An identity that does not change. */
export function fixedIdentity(authority: TestAuthority, spiffeId: string): IdentitySource {
  return { name: 'test', run: async (sink) => sink.update(authority.issue(spiffeId)) };
}

/** A folder of YAML and an authority; everything that joins is closed at the end of the test. */
export function testMesh(t: Test, yaml: string = strict): TestMesh {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-'));
  const authority = makeAuthority();
  const joined: Mesh[] = [];
  const write = (file: string, text: string): void => writeFileSync(join(folder, file), text);
  write('policy.yaml', yaml);
  // A mesh does not keep a process alive, and a test that waits for one must.
  const release = holdProcess();
  t.teardown(async () => {
    release();
    await Promise.all(joined.map((mesh) => mesh.close()));
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    folder,
    authority,
    write,
    async join(name, options = {}) {
      const log = recordingLogger();
      const mesh = createMesh({
        workload: { name, namespace: 'shop', serviceAccount: name },
        config: folder,
        identity: fixedIdentity(authority, `spiffe://cluster.local/ns/shop/sa/${name}`),
        logger: log,
        ...options,
      });
      joined.push(mesh);
      await mesh.ready(20_000);
      return { ...mesh, log };
    },
    async serve(mesh, app) {
      const { name } = mesh.workload;
      const { port } = await mesh.listen(app, { host: '127.0.0.1' });
      const known = Promise.all(
        joined.map((each) => new Promise<void>((resolve) => void each.on('config', () => resolve()))),
      );
      write(
        `${name}.yaml`,
        `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.1, ports: {http: ${port}}, serviceAccount: ${name}, labels: {app: ${name}}}
`,
      );
      await known;
      return port;
    },
  };
}
