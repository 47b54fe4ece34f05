import { isHttp, protocolOf } from '../protocol.ts';
import type { AuthorizationPolicySpec } from '../validate-authorization-policy.ts';
import type { GatewayBody } from '../validate-gateway.ts';
import type { AnalysisContext, Analyzer } from './context.ts';

/** What Istio's webhook accepts with a warning. */
export const analyzeSchemaWarnings: Analyzer = (context) => {
  denyRules(context);
  gateways(context);
  emptySelectors(context);
  tracing(context);
};

const connectionFields = [
  'principals',
  'notPrincipals',
  'namespaces',
  'notNamespaces',
  'serviceAccounts',
  'notServiceAccounts',
  'ipBlocks',
  'notIpBlocks',
  'remoteIpBlocks',
  'notRemoteIpBlocks',
];

/** A DENY rule of only HTTP attributes denies all of a TCP port: what is not there counts as matching. */
function denyRules(context: AnalysisContext): void {
  for (const resource of context.ofKind<{ spec?: AuthorizationPolicySpec }>('AuthorizationPolicy')) {
    const { action, rules = [] } = resource.body.spec ?? {};
    if (action !== 'DENY') continue;
    for (const [index, { from = [], to = [] }] of rules.entries()) {
      const connection = from.some(({ source }) => connectionFields.some((field) => source[field] !== undefined));
      const port = to.some(({ operation }) => operation['ports'] !== undefined || operation['notPorts'] !== undefined);
      if (!((from.length > 0 && to.length === 0 && !connection) || (to.length > 0 && !port))) continue;
      const message = 'denies everything at TCP ports: it has HTTP attributes only; name the ports that it is for';
      context.report('IST0133', resource, ['spec', 'rules', index], message);
    }
  }
}

function gateways(context: AnalysisContext): void {
  for (const resource of context.ofKind<GatewayBody>('Gateway')) {
    for (const [index, { port, tls }] of (resource.body.spec.servers ?? []).entries()) {
      const path = ['spec', 'servers', index, 'tls'];
      const {
        httpsRedirect = false,
        mode = 'PASSTHROUGH',
        cipherSuites = [],
        minProtocolVersion,
      } = {
        ...(tls as { httpsRedirect?: boolean; cipherSuites?: readonly string[]; minProtocolVersion?: string }),
        ...tls,
      };
      const protocol = protocolOf(port.protocol);
      if (httpsRedirect && (protocol === undefined || protocol === 'none' || !isHttp(protocol))) {
        context.report('IST0133', resource, [...path, 'httpsRedirect'], 'is for HTTP servers only');
      }
      const own = [tls?.serverCertificate, tls?.privateKey, tls?.caCertificates, tls?.caCrl, tls?.credentialName];
      if (tls !== undefined && mode.endsWith('PASSTHROUGH') && own.some((text) => text !== undefined && text !== '')) {
        context.report('IST0133', resource, path, `has certificates, which the mode ${mode} does not use`);
      }
      if (/^TLSV1_[01]$/.test(minProtocolVersion ?? '') && cipherSuites.length === 0) {
        const message = `${minProtocolVersion} needs cipherSuites: the default ones are for TLS 1.2 and later`;
        context.report('IST0133', resource, [...path, 'minProtocolVersion'], message);
      }
      for (const [at, suite] of cipherSuites.entries()) {
        if (cipherSuites.indexOf(suite) < at) {
          context.report('IST0133', resource, [...path, 'cipherSuites', at], 'is there twice', { value: suite });
        }
      }
    }
  }
}

interface Selecting {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: object };
    readonly workloadSelector?: { readonly labels?: object; readonly matchLabels?: object };
  };
}

const selecting = new Set([
  'AuthorizationPolicy',
  'DestinationRule',
  'EnvoyFilter',
  'PeerAuthentication',
  'ProxyConfig',
  'RequestAuthentication',
  'ServiceEntry',
  'Sidecar',
  'Telemetry',
  'TrafficExtension',
  'WasmPlugin',
]);

function emptySelectors(context: AnalysisContext): void {
  for (const resource of context.resources) {
    if (!selecting.has(resource.kind)) continue;
    const { selector, workloadSelector } = (resource.body as Selecting).spec ?? {};
    for (const [field, labels] of [
      ['selector', selector === undefined ? undefined : (selector.matchLabels ?? {})],
      [
        'workloadSelector',
        workloadSelector === undefined ? undefined : (workloadSelector.labels ?? workloadSelector.matchLabels ?? {}),
      ],
    ] as const) {
      if (labels === undefined || Object.keys(labels).length > 0) continue;
      context.report('IST0133', resource, ['spec', field], 'has no labels: it is for all workloads');
    }
  }
}

interface TelemetryBody {
  readonly spec?: { readonly tracing?: readonly { readonly providers?: readonly unknown[] }[] };
}

function tracing(context: AnalysisContext): void {
  for (const resource of context.ofKind<TelemetryBody>('Telemetry')) {
    const { tracing: list = [] } = resource.body.spec ?? {};
    if (list.length > 1) context.report('IST0133', resource, ['spec', 'tracing'], 'has several entries; one counts');
    for (const [index, { providers = [] }] of list.entries()) {
      if (providers.length <= 1) continue;
      context.report('IST0133', resource, ['spec', 'tracing', index, 'providers'], 'has several entries; one counts');
    }
  }
}
