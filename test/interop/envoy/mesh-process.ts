import { staticSource } from '../../../src/config/static-source.ts';
import type { Credentials, IdentitySource } from '../../../src/identity/source.ts';
import { createMesh, type Mesh, type MeshOptions } from '../../../src/index.ts';
import { holdProcess } from '../../../src/lib/clock.ts';
import type { Workload } from '../../../src/model/workload.ts';
import { type RecordingLogger, recordingLogger } from '../../support/recording-logger.ts';
import type { Owner } from '../../support/upstream.ts';

/** A process of the mesh, ready; closed at the end of the test. Its service account is its name. */
export async function meshProcess(
  t: Owner,
  name: string,
  yaml: string,
  identity: Credentials | IdentitySource,
  options: Partial<MeshOptions> = {},
): Promise<Mesh & { readonly log: RecordingLogger }> {
  const workload: Workload = {
    name,
    namespace: 'shop',
    serviceAccount: name,
    labels: { app: name },
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  };
  const log = recordingLogger();
  const mesh = createMesh({
    workload,
    config: staticSource(yaml, { workload }),
    identity: 'run' in identity ? identity : { name: 'fixed', run: async (sink) => sink.update(identity) },
    logger: log,
    ...options,
  });
  const release = holdProcess();
  t.teardown(async () => {
    release();
    await mesh.close();
  });
  await mesh.ready(20_000);
  return { ...mesh, log };
}

/** What is said of a service whose one endpoint is an Envoy. */
export interface PeerService {
  readonly name: string;
  readonly port: number;
  readonly protocol?: 'HTTP' | 'HTTP2' | 'TCP';
  /** Default: the name of the service. */
  readonly serviceAccount?: string;
  /** `tls` of a DestinationRule; without one auto-mTLS decides. */
  readonly tls?: string;
  /** The endpoint does not say that it speaks mTLS. */
  readonly plain?: boolean;
}

/** A service on port 80, as YAML. */
export function peerService(service: PeerService): string {
  const { name, plain, port, protocol = 'HTTP', serviceAccount = name, tls } = service;
  const identity = plain === true ? '' : `, serviceAccount: ${serviceAccount}`;
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: main, protocol: ${protocol}}]
  endpoints:
  - {address: 127.0.0.1, ports: {main: ${port}}, labels: {app: ${name}}${identity}}
${tls === undefined ? '' : destinationRule(name, tls)}---`;
}

const destinationRule = (name: string, tls: string): string => `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: shop}
spec:
  host: ${name}
  trafficPolicy:
    tls: ${tls}
`;
