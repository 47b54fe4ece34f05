import type { Path } from '../document.ts';
import type { DestinationRuleBody } from '../istio-destination-rule.ts';
import type { PeerAuthenticationBody } from '../istio-peer-authentication.ts';
import { byAge, type Resource } from '../resource.ts';
import type { PolicyParts } from '../traffic-policy-spec.ts';
import { selects } from '../values.ts';
import type { AnalysisContext, Analyzer } from './context.ts';
import { hasHiddenEndpoints, type KnownService, knownServices, labelsOf } from './known-services.ts';

type Rule = Resource<DestinationRuleBody>;

/** TLS whose server nobody verifies. */
export const analyzeServerVerification: Analyzer = (context) => {
  for (const rule of context.ofKind<DestinationRuleBody>('DestinationRule')) {
    const { trafficPolicy, host } = rule.body.spec;
    if (isUnverified(trafficPolicy)) {
      const message = `${trafficPolicy?.tls?.mode} without caCertificates does not verify who answers as ${host}`;
      context.report('IST0128', rule, ['spec', 'trafficPolicy', 'tls'], message);
    }
    for (const [index, port] of (trafficPolicy?.portLevelSettings ?? []).entries()) {
      if (!isUnverified(port)) continue;
      const message = `${port.tls?.mode} without caCertificates does not verify who answers at port ${port.port.number}`;
      context.report('IST0129', rule, ['spec', 'trafficPolicy', 'portLevelSettings', index, 'tls'], message);
    }
  }
};

function isUnverified(policy: PolicyParts | undefined): boolean {
  const { mode, caCertificates = '', credentialName = '' } = policy?.tls ?? {};
  return (mode === 'SIMPLE' || mode === 'MUTUAL') && caCertificates === '' && credentialName === '';
}

/** Rules for hosts that nobody has, and subsets without workloads. */
export const analyzeRuleTargets: Analyzer = (context) => {
  const rules = context.ofKind<DestinationRuleBody>('DestinationRule');
  if (rules.length === 0) return;
  const services = knownServices(context);
  for (const rule of rules) {
    const { host, subsets = [] } = rule.body.spec;
    if (host.startsWith('*')) continue;
    const service = services.find(host, rule.namespace);
    if (service === undefined) {
      context.report('IST0174', rule, ['spec', 'host'], `no Service or ServiceEntry has the host ${host}`, {
        value: host,
      });
      continue;
    }
    const all = labelsOf(service, services);
    // Without any workload in the files there is nothing to compare with.
    if (all.length === 0 || hasHiddenEndpoints(service, context)) continue;
    for (const [index, { name, labels = {} }] of subsets.entries()) {
      if (all.some((each) => selects(labels, each))) continue;
      const message = `the subset ${name} selects no workload of ${host}: calls to it answer 503`;
      context.report('IST0173', rule, ['spec', 'subsets', index], message);
    }
  }
};

type Mode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

/** A rule that sends plaintext where only mTLS is taken, or the other way round. */
export const analyzeMtlsConflicts: Analyzer = (context) => {
  const policies = context.ofKind<PeerAuthenticationBody>('PeerAuthentication');
  if (policies.length === 0) return;
  const services = knownServices(context);
  for (const rule of context.ofKind<DestinationRuleBody>('DestinationRule')) {
    const { host, trafficPolicy } = rule.body.spec;
    const service = host.startsWith('*') ? undefined : services.find(host, rule.namespace);
    if (service === undefined) continue;
    compare(context, rule, trafficPolicy, ['spec', 'trafficPolicy', 'tls'], service);
    for (const [index, subset] of (rule.body.spec.subsets ?? []).entries()) {
      compare(context, rule, subset.trafficPolicy, ['spec', 'subsets', index, 'trafficPolicy', 'tls'], service);
    }
  }
};

function compare(
  context: AnalysisContext,
  rule: Rule,
  policy: PolicyParts | undefined,
  path: Path,
  service: KnownService,
): void {
  const sends = policy?.tls?.mode;
  if (sends !== 'DISABLE' && sends !== 'ISTIO_MUTUAL') return;
  const takes = modeOf(context, service);
  if (takes === (sends === 'DISABLE' ? 'STRICT' : 'DISABLE')) {
    const message = `${sends} does not reach ${service.host}, whose PeerAuthentication says ${takes}`;
    context.report('IST0113', rule, [...path, 'mode'], message, { value: sends });
  }
}

/** The mode of a service's workloads, where a policy of any level that applies to all of them sets it. */
function modeOf(context: AnalysisContext, { resource, selector }: KnownService): Mode {
  const root = context.mesh.rootNamespace;
  const policies = [...context.ofKind<PeerAuthenticationBody>('PeerAuthentication')].sort(byAge);
  const labels = ({ body }: Resource<PeerAuthenticationBody>): Readonly<Record<string, string>> =>
    body.spec?.selector?.matchLabels ?? {};
  const plain = (namespace: string): Resource<PeerAuthenticationBody> | undefined =>
    policies.find((each) => each.namespace === namespace && Object.keys(labels(each)).length === 0);
  const own =
    selector === undefined
      ? undefined
      : policies.find(
          (each) =>
            each.namespace === resource.namespace &&
            Object.keys(labels(each)).length > 0 &&
            selects(labels(each), selector),
        );
  for (const policy of [own, plain(resource.namespace), plain(root)]) {
    const mode = policy?.body.spec?.mtls?.mode ?? 'UNSET';
    if (mode !== 'UNSET') return mode;
  }
  return 'PERMISSIVE';
}
