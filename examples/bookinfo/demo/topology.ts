/** One process of Bookinfo. */
export interface ServiceProcess {
  /** Name of the workload: `reviews-v2`. */
  readonly name: string;
  readonly app: string;
  readonly version: string;
  readonly serviceAccount: string;
  /** File under `services/`. */
  readonly file: string;
}

/** Who takes part, in the order of the table. */
export const topology: readonly ServiceProcess[] = [
  service('productpage', 'v1'),
  service('details', 'v1'),
  service('reviews', 'v1'),
  service('reviews', 'v2'),
  service('reviews', 'v3'),
  service('ratings', 'v1'),
];

/** A workload with an identity of its own that no policy lets in; only the checks start it. */
export const intruder: ServiceProcess = {
  name: 'intruder-v1',
  app: 'intruder',
  version: 'v1',
  serviceAccount: 'bookinfo-intruder',
  file: '../demo/intruder.ts',
};

export const namespace = 'bookinfo';

function service(app: string, version: string): ServiceProcess {
  return { name: `${app}-${version}`, app, version, serviceAccount: `bookinfo-${app}`, file: `${app}.ts` };
}

/** The registration of a process that listens, in Istio's language. */
export function workloadEntry(process: ServiceProcess, port: number): string {
  return `apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: ${process.name}, namespace: ${namespace} }
spec:
  address: 127.0.0.1
  ports: { http: ${port} }
  labels: { app: ${process.app}, version: ${process.version} }
  serviceAccount: ${process.serviceAccount}
`;
}
