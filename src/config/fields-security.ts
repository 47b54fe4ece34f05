import { policySelector, targetRef, targetRefs } from './fields-selector.ts';
import type { KindTable, ObjectType } from './schema.ts';
import {
  boolean,
  duration,
  enforced,
  field,
  list,
  map,
  object,
  oneOfValues,
  refused,
  required,
  string,
} from './schema.ts';

const selector = policySelector;
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

const text = string({ minLength: 1 });
const values = list(text);
const attachment = 'attaches to gateways and waypoints, which inmesh is not; use `selector`';
const accounts = list(string({ minLength: 1, maxLength: 320 }), 16);

/** Who sends a request, as AuthorizationPolicy says it. */
export const source: ObjectType = object({
  principals: values,
  notPrincipals: values,
  namespaces: values,
  notNamespaces: values,
  serviceAccounts: enforced(accounts, '`namespace/name`, or a name in the namespace of the policy'),
  notServiceAccounts: accounts,
  requestPrincipals: enforced(values, 'issuer and subject of a verified token are compared each by itself'),
  notRequestPrincipals: values,
  ipBlocks: enforced(values, 'the peer of the connection; IPv4-mapped addresses are IPv4'),
  notIpBlocks: values,
  remoteIpBlocks: enforced(
    values,
    'from `x-forwarded-for` as far as `gatewayTopology.numTrustedProxies` says; without that the peer of the connection',
  ),
  notRemoteIpBlocks: values,
  trustDomains: values,
  notTrustDomains: values,
});

/** What is asked for, as AuthorizationPolicy says it. */
export const operation: ObjectType = object({
  hosts: values,
  notHosts: values,
  ports: values,
  notPorts: values,
  methods: values,
  notMethods: values,
  paths: enforced(values, 'path templates (`{*}`, `{**}`) included'),
  notPaths: values,
});

/** What else must hold, as AuthorizationPolicy says it. */
export const when: ObjectType = object({
  key: enforced(
    required(string()),
    '`experimental.*` is refused, and of the names with a colon all but `:method` and `:authority`',
  ),
  values: enforced(list(string()), 'of `request.headers[…]` each line is a value: to allow, all must match'),
  notValues: list(string()),
});

/** `security.istio.io` AuthorizationPolicy. */
export const authorizationPolicyTable: KindTable = {
  kind: 'AuthorizationPolicy',
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  status: 'enforced',
  note: 'with annotation `istio.io/dry-run: "true"` what it would decide is logged and counted, and not enforced, as in Istio',
  reference: 'https://istio.io/latest/docs/reference/config/security/authorization-policy/',
  fields: {
    spec: field(
      object({
        selector,
        targetRef: refused(targetRef, attachment),
        targetRefs: refused(targetRefs, attachment),
        action: enforced(
          oneOfValues('ALLOW', 'DENY', 'AUDIT', 'CUSTOM'),
          'AUDIT: what matches is logged, counted and told as event `authorization-audit`; CUSTOM: an external authorizer is asked',
        ),
        provider: enforced(
          object({ name: string() }),
          'an `extensionProviders` entry of MeshConfig; requests are refused when there is none, or when policies for one workload name several',
        ),
        rules: list(
          object({
            from: list(object({ source: required(source) })),
            to: list(object({ operation: required(operation) })),
            when: list(when),
          }),
        ),
      }),
    ),
  },
};

const headerName = string({ pattern: /^[-_A-Za-z0-9]+$/, mustBe: 'the name of a header: letters, digits, - and _' });
const uri = string({ minLength: 1, maxLength: 2_048 });

/** `security.istio.io` RequestAuthentication. */
export const requestAuthenticationTable: KindTable = {
  kind: 'RequestAuthentication',
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  status: 'enforced',
  note: 'every token that a request presents must be good: see [tokens](tokens.md)',
  reference: 'https://istio.io/latest/docs/reference/config/security/request_authentication/',
  fields: {
    spec: field(
      object({
        selector,
        targetRef: refused(targetRef, attachment),
        targetRefs: refused(targetRefs, attachment),
        jwtRules: list(
          object(
            {
              issuer: string(),
              audiences: values,
              jwksUri: uri,
              jwks_uri: uri,
              jwks: enforced(
                string({ anyCharacter: true }),
                'a key set that cannot be used, or has a private or symmetric key, is refused',
              ),
              fromHeaders: list(object({ name: required(text), prefix: string() })),
              fromParams: values,
              fromCookies: enforced(values, 'the cookie is removed as well, unless `forwardOriginalToken`'),
              outputPayloadToHeader: enforced(string(), 'taken away from requests without a token as well'),
              forwardOriginalToken: boolean,
              outputClaimToHeaders: enforced(
                list(object({ header: required(headerName), claim: required(text) })),
                'taken away from requests without a token as well',
              ),
              timeout: duration(),
              spaceDelimitedClaims: list(text, 64),
              presence: enforced(oneOfValues('OPTIONAL', 'REQUIRED'), 'REQUIRED: 401 without a token of the rule'),
            },
            ['jwksUri', 'jwks_uri', 'jwks'],
          ),
        ),
      }),
    ),
  },
};
