import { selectorLabels } from './fields-destination-rule.ts';
import type { KindTable } from './schema.ts';
import {
  any,
  enforced,
  field,
  list,
  map,
  nonEmptyList,
  object,
  oneOfValues,
  openObject,
  refused,
  required,
  string,
} from './schema.ts';

const selector = object({ matchLabels: selectorLabels });
const mode = oneOfValues('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT');
const portNumber = { pattern: /^[1-9][0-9]{0,4}$/, mustBe: 'a port number' } as const;

/** `security.istio.io` PeerAuthentication. */
export const peerAuthenticationTable: KindTable = {
  kind: 'PeerAuthentication',
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  status: 'enforced',
  reference: 'https://istio.io/latest/docs/reference/config/security/peer_authentication/',
  fields: {
    spec: field(
      object({
        selector,
        mtls: object({ mode: enforced(mode, 'UNSET inherits from the namespace, then from the mesh') }),
        portLevelMtls: enforced(
          map(object({ mode }), portNumber),
          'needs a selector; the port is the one that the workload listens on',
        ),
      }),
    ),
  },
};

const values = nonEmptyList(string({ pattern: /./, mustBe: 'a text that is not empty' }));
const notYet = 'inmesh cannot decide this yet, and must not guess';
const later = refused(values, notYet);
const targetRef = object({ group: string(), kind: required(string()), name: required(string()), namespace: string() });
const attachment = 'attaches to gateways and waypoints, which inmesh is not; use `selector`';

const source = object({
  principals: values,
  notPrincipals: values,
  namespaces: values,
  notNamespaces: values,
  serviceAccounts: enforced(values, '`namespace/name`, or a name in the namespace of the policy'),
  notServiceAccounts: values,
  requestPrincipals: later,
  notRequestPrincipals: later,
  ipBlocks: later,
  notIpBlocks: later,
  remoteIpBlocks: later,
  notRemoteIpBlocks: later,
  trustDomains: later,
  notTrustDomains: later,
});

const operation = object({
  hosts: values,
  notHosts: values,
  ports: values,
  notPorts: values,
  methods: values,
  notMethods: values,
  paths: enforced(values, 'path templates (`{*}`, `{**}`) are refused'),
  notPaths: values,
});

/** `security.istio.io` AuthorizationPolicy. */
export const authorizationPolicyTable: KindTable = {
  kind: 'AuthorizationPolicy',
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  status: 'enforced',
  note: 'with annotation `istio.io/dry-run: "true"` it is not enforced, as in Istio',
  reference: 'https://istio.io/latest/docs/reference/config/security/authorization-policy/',
  fields: {
    spec: field(
      object({
        selector,
        targetRef: refused(targetRef, attachment),
        targetRefs: refused(list(targetRef), attachment),
        action: enforced(oneOfValues('ALLOW', 'DENY', 'AUDIT', 'CUSTOM'), 'AUDIT and CUSTOM are refused'),
        provider: refused(object({ name: string() }), 'there are no external authorization providers yet'),
        rules: list(
          object({
            from: nonEmptyList(object({ source: required(source) })),
            to: nonEmptyList(object({ operation: required(operation) })),
            when: refused(
              list(object({ key: required(string()), values: list(string()), notValues: list(string()) })),
              notYet,
            ),
          }),
        ),
      }),
    ),
  },
};

/** `security.istio.io` RequestAuthentication: refused as a whole until tokens are checked. */
export const requestAuthenticationTable: KindTable = {
  kind: 'RequestAuthentication',
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  status: 'refused',
  note: 'JWTs are not checked yet, and a policy that is not enforced must not look as if it were',
  reference: 'https://istio.io/latest/docs/reference/config/security/request_authentication/',
  fields: { spec: field(openObject({ jwtRules: any })) },
};
