import { exportTo, selectorLabels } from './fields-destination-rule.ts';
import type { Field, KindTable } from './schema.ts';
import {
  approximated,
  enforced,
  ignored,
  integer,
  list,
  map,
  nonEmptyList,
  object,
  oneOfValues,
  required,
  string,
  text,
} from './schema.ts';

const portName = { pattern: /^[a-zA-Z0-9]([-a-zA-Z0-9]{0,60}[a-zA-Z0-9])?$/, mustBe: 'the name of a port' } as const;

const workload: Readonly<Record<string, Field>> = object({
  address: enforced(string({ maxLength: 256 }), 'an IP address, a DNS name, or `unix://` and the path of a socket'),
  ports: map(integer(1, 65_535), portName),
  labels: map(string()),
  network: approximated(
    string({ maxLength: 2_048 }),
    'an address is called directly, whatever its network; an entry without an address is left out',
  ),
  locality: enforced(string({ maxLength: 2_048 }), '`region/zone/subzone`; absent: label `istio-locality`'),
  weight: integer(0, 4_294_967_295),
  serviceAccount: string({ maxLength: 253 }),
}).fields;

/** `networking.istio.io` ServiceEntry. */
export const serviceEntryTable: KindTable = {
  kind: 'ServiceEntry',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'enforced',
  reference: 'https://istio.io/latest/docs/reference/config/networking/service-entry/',
  fields: {
    spec: required(
      object(
        {
          hosts: required(nonEmptyList(string())),
          addresses: enforced(
            list(string({ maxLength: 64 })),
            'an address is a name for the service; an address range is not, as for HTTP in Istio',
          ),
          ports: list(
            object({
              number: required(integer(1, 65_535)),
              name: required(string({ maxLength: 256 })),
              protocol: enforced(string({ maxLength: 256 }), 'absent: HTTP, where Istio looks at the traffic'),
              targetPort: enforced(
                integer(1, 65_535),
                'with resolution NONE it replaces the port that the caller named',
              ),
            }),
          ),
          location: enforced(
            oneOfValues('MESH_EXTERNAL', 'MESH_INTERNAL'),
            'MESH_EXTERNAL, the default, gets no automatic mTLS',
          ),
          resolution: enforced(
            oneOfValues('NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'),
            'DNS_ROUND_ROBIN: new connections use the first address of the newest answer; NONE and DYNAMIC_DNS: the host that the caller named is resolved',
          ),
          endpoints: list({ kind: 'object', fields: workload, open: false }),
          workloadSelector: enforced(
            object({ labels: selectorLabels }),
            'selects WorkloadEntry and Pod documents of its namespace',
          ),
          exportTo,
          subjectAltNames: list(string()),
        },
        ['endpoints', 'workloadSelector'],
      ),
    ),
  },
};

/** `networking.istio.io` WorkloadEntry. */
export const workloadEntryTable: KindTable = {
  kind: 'WorkloadEntry',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'enforced',
  note: 'an endpoint of every ServiceEntry and Service of its namespace whose selector matches its labels',
  reference: 'https://istio.io/latest/docs/reference/config/networking/workload-entry/',
  fields: { spec: required({ kind: 'object', fields: workload, open: false }) },
};

const seconds = integer(0);
const healthPort = required(integer(1, 65_535));
const probed = 'nothing is probed: the process is its own workload';

/** `networking.istio.io` WorkloadGroup: checked, and without an effect in a process. */
export const workloadGroupTable: KindTable = {
  kind: 'WorkloadGroup',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'ignored',
  note: 'checked; a template for machines that register themselves, which no process does',
  reference: 'https://istio.io/latest/docs/reference/config/networking/workload-group/',
  fields: {
    spec: required(
      object({
        metadata: ignored(
          object({ labels: map(string()), annotations: map(text) }),
          'belongs to the entries that a control plane would make',
        ),
        template: ignored(
          required({ kind: 'object', fields: workload, open: false }),
          'nobody registers here: write WorkloadEntry documents',
        ),
        probe: ignored(
          object(
            {
              initialDelaySeconds: seconds,
              timeoutSeconds: seconds,
              periodSeconds: seconds,
              successThreshold: seconds,
              failureThreshold: seconds,
              httpGet: object({
                path: string(),
                port: healthPort,
                host: string(),
                scheme: oneOfValues('', 'HTTP', 'HTTPS'),
                httpHeaders: list(
                  object({
                    name: required(string({ pattern: /^[-A-Za-z0-9]+$/, mustBe: 'letters, digits and -' })),
                    value: text,
                  }),
                ),
              }),
              tcpSocket: object({ host: string(), port: healthPort }),
              exec: object({ command: required(nonEmptyList(string({ minLength: 1, anyCharacter: true }))) }),
              grpc: object({ port: integer(1, 65_535), service: string() }),
            },
            ['httpGet', 'tcpSocket', 'exec', 'grpc'],
          ),
          probed,
        ),
      }),
    ),
  },
};
