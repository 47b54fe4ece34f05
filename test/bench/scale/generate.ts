import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** How large the mesh is that is made up. */
export interface MeshSize {
  /** VirtualServices, and as many ServiceEntries for their hosts; an even number, as neighbours lead to each other. */
  readonly services: number;
  /** `http` rules of each VirtualService; the last one is for everything. */
  readonly rules: number;
  readonly files: number;
}

export const servicePort = 8080;

/** Host of a service: numbers as wide as those of the last one, so that the files sort by them. */
export function hostOf(index: number): string {
  return `service-${nameOf(index)}.shop.svc.cluster.local`;
}

function nameOf(index: number): string {
  return String(index).padStart(5, '0');
}

/** Writes the folder; returns the files, each with the index of its first service. */
export function writeMesh(folder: string, size: MeshSize): readonly string[] {
  mkdirSync(folder, { recursive: true });
  const perFile = Math.ceil(size.services / size.files);
  return Array.from({ length: size.files }, (_, file) => {
    const path = join(folder, `team-${nameOf(file)}.yaml`);
    writeFileSync(path, meshFile(file * perFile, Math.min(size.services, (file + 1) * perFile), size.rules));
    return path;
  });
}

/** The resources of the services from one index up to another, as people write them. */
export function meshFile(from: number, to: number, rules: number): string {
  let text = '# Services of one team.\n';
  for (let index = from; index < to; index++) text += serviceEntry(index) + virtualService(index, rules);
  return text;
}

function serviceEntry(index: number): string {
  const address = (version: number): string => `10.${version}.${index >> 8}.${index & 255}`;
  return `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: service-${nameOf(index)}
  namespace: shop
spec:
  hosts:
  - ${hostOf(index)}
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - number: ${servicePort}
    name: http
    protocol: HTTP
  endpoints:
  - address: ${address(1)}
    labels:
      version: v1
  - address: ${address(2)}
    labels:
      version: v2
`;
}

function virtualService(index: number, rules: number): string {
  let text = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: service-${nameOf(index)}
  namespace: shop
  labels:
    team: team-${index % 50}
spec:
  hosts:
  - ${hostOf(index)}
  http:
`;
  for (let rule = 0; rule < rules - 1; rule++) text += kindsOfRules[rule % kindsOfRules.length]?.(index, rule) ?? '';
  return `${text}  - route:
    - destination:
        host: ${hostOf(index)}
        port:
          number: ${servicePort}
    timeout: 10s
`;
}

const kindsOfRules: readonly ((index: number, rule: number) => string)[] = [
  (index, rule) => `  - name: canary-${rule}
    match:
    - headers:
        x-canary:
          exact: team-${rule}
      uri:
        prefix: /api/v${rule}
    route:
    - destination:
        host: ${hostOf(index)}
    timeout: ${rule + 1}s
`,
  (index, rule) => `  - match:
    - uri:
        prefix: /catalogue/${rule}
    route:
    - destination:
        host: ${hostOf(index)}
      weight: 90
    - destination:
        host: ${hostOf(index ^ 1)}
      weight: 10
    retries:
      attempts: 3
      perTryTimeout: 2s
      retryOn: 5xx,reset,connect-failure,refused-stream
`,
  (index, rule) => `  - match:
    - uri:
        exact: /login/${rule}
      method:
        exact: POST
    - uri:
        exact: /logout/${rule}
    route:
    - destination:
        host: ${hostOf(index)}
    timeout: 5s
`,
];
