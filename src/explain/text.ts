import type { Provenance } from '../model/provenance.ts';
import type {
  ExplainedEdits,
  ExplainedFault,
  ExplainedResilience,
  ExplainedRetries,
  Explanation,
  InboundExplanation,
  OutboundExplanation,
} from './result.ts';

/** An explanation for people: the decision first, then what it is made of, then why not something else. */
export function describeExplanation(explanation: Explanation): string {
  return (explanation.direction === 'outbound' ? outbound(explanation) : inbound(explanation)).join('\n');
}

const place = (at: Provenance | undefined): string =>
  at?.file === undefined ? '' : ` (${at.file}:${at.line ?? 1}:${at.column ?? 1})`;
const row = (name: string, value: string): string => `  ${name.padEnd(12)} ${value}`;

function outbound(explanation: OutboundExplanation): string[] {
  const { at, cluster, decision, direct, name, redirect, reason, rule } = explanation;
  const lines = [`${decision}${headline(explanation)}`, row('because', reason)];
  if (rule !== undefined) lines.push(row('rule', `${rule}${name === undefined ? '' : ` "${name}"`}${place(at)}`));
  else if (decision === 'route') lines.push(row('rule', 'none: the default route of the service'));
  if (direct !== undefined) lines.push(row('body', JSON.stringify(direct.body)));
  if (redirect === undefined && direct === undefined && cluster !== undefined) lines.push(...details(explanation));
  lines.push(...edits('request', explanation.requestHeaders), ...edits('response', explanation.responseHeaders));
  for (const passed of explanation.passedOver) {
    lines.push(row('passed over', `${passed.rule}${place(passed.at)}`));
    for (const why of passed.reasons) lines.push(row('', why));
  }
  for (const note of explanation.notes) lines.push(row('note', note));
  return lines;
}

function headline({ cluster, direct, redirect }: OutboundExplanation): string {
  if (redirect !== undefined) return ` ${redirect.status} to ${redirect.location}`;
  if (direct !== undefined) return ` ${direct.status}`;
  return cluster === undefined ? '' : ` to ${cluster}`;
}

function details(explanation: OutboundExplanation): string[] {
  const {
    authority,
    destinations = [],
    fault,
    hash,
    mirrors = [],
    path,
    resilience,
    retries,
    timeoutMs,
    tls,
  } = explanation;
  const lines: string[] = [];
  const total = destinations.reduce((sum, { weight }) => sum + weight, 0);
  for (const { cluster, weight } of destinations) {
    const share = total === 0 ? 0 : Math.round((weight / total) * 10_000) / 100;
    lines.push(row('destination', `${cluster}  weight ${weight}, ${share} %`));
  }
  if (authority !== undefined) lines.push(row('authority', authority));
  if (path !== undefined) lines.push(row('path', path));
  if (timeoutMs !== undefined) lines.push(row('timeout', timeoutMs === 0 ? 'none' : `${timeoutMs} ms`));
  if (retries !== undefined) lines.push(row('retries', describeRetries(retries)));
  lines.push(...describeResilience(resilience));
  if (fault !== undefined) lines.push(row('fault', describeFault(fault)));
  for (const { applies, cluster, percentage } of mirrors) {
    lines.push(row('mirror', `${cluster}  ${percentage} %, ${applies ? '' : 'not '}this request`));
  }
  if (hash !== undefined) lines.push(row('hash', JSON.stringify(hash)));
  if (tls !== undefined) {
    const sans = tls.sans === undefined || tls.sans.length === 0 ? '' : `, server must be ${tls.sans.join(' or ')}`;
    lines.push(row('tls', `${tls.mode}${tls.sni === undefined ? '' : `, SNI ${tls.sni}`}${sans}`));
  }
  return lines;
}

function describeRetries({ attempts, perTryTimeoutMs, retriableStatusCodes, retryOn }: ExplainedRetries): string {
  if (attempts === 0) return 'none';
  const perTry = perTryTimeoutMs === undefined ? '' : `, ${perTryTimeoutMs} ms a try`;
  return `${attempts} on ${[...retryOn, ...retriableStatusCodes].join(',')}${perTry}`;
}

function describeResilience(given: ExplainedResilience = {}): string[] {
  const { breaker, healthCheck, hedge, http2, limits, outlierDetection, retryBudget } = given;
  const lines: string[] = [];
  if (http2 !== undefined)
    lines.push(row('HTTP/2', http2 === 'always' ? 'yes' : 'for calls whose cause came in over HTTP/2'));
  if (hedge !== undefined) lines.push(row('hedge', describeHedge(hedge)));
  if (retryBudget !== undefined) {
    const { minRetryConcurrency, percent } = retryBudget;
    lines.push(row('retry budget', `${percent} % of the calls under way, ${minRetryConcurrency} at least`));
  }
  if (breaker !== undefined) {
    const { errorThresholdPercentage, fallbackStatus, resetTimeoutMs, rollingWindowMs, volumeThreshold } = breaker;
    const opens = `opens above ${errorThresholdPercentage} % failures of at least ${volumeThreshold} calls in ${rollingWindowMs} ms`;
    const answer = fallbackStatus === undefined ? '' : `, then answers ${fallbackStatus}`;
    lines.push(row('breaker', `${opens}, for ${resetTimeoutMs} ms${answer}`));
  }
  for (const [name, value] of Object.entries(limits ?? {})) lines.push(row('limit', `${name} ${value}`));
  if (outlierDetection) lines.push(row('outliers', 'errors eject endpoints'));
  if (healthCheck !== undefined) lines.push(row('health', `endpoints are checked (${healthCheck})`));
  return lines;
}

function describeHedge({ hedges, when }: NonNullable<ExplainedResilience['hedge']>): string {
  const most = hedges === undefined ? '' : `, ${hedges} at most`;
  if (when.kind === 'perTryTimeout') return `another try when one takes longer than its time${most}`;
  if (when.kind === 'after') return `another try after ${when.ms} ms${most}`;
  return `another try after the time of ${when.percentile} % of the answers, ${when.minMs} ms at least${most}`;
}

function describeFault({ abort, configured, delayMs }: ExplainedFault): string {
  const parts: string[] = [];
  if (configured.delay !== undefined) {
    const { delayMs: time, percentage } = configured.delay;
    parts.push(`delay of ${time} ms for ${percentage} % (${delayMs === undefined ? 'not ' : ''}this request)`);
  }
  if (configured.abort !== undefined) {
    const { percentage } = configured.abort;
    const status =
      'httpStatus' in configured.abort ? configured.abort.httpStatus : `gRPC ${configured.abort.grpcStatus}`;
    parts.push(`abort with ${status} for ${percentage} % (${abort === undefined ? 'not ' : ''}this request)`);
  }
  return parts.join('; ');
}

function edits(what: string, given: ExplainedEdits | undefined): string[] {
  if (given === undefined) return [];
  const lines: string[] = [];
  for (const [name, value] of Object.entries(given.set)) lines.push(row(what, `set ${name}: ${value}`));
  for (const [name, value] of Object.entries(given.add)) {
    for (const each of typeof value === 'string' ? [value] : value) lines.push(row(what, `add ${name}: ${each}`));
  }
  for (const name of given.remove) lines.push(row(what, `remove ${name}`));
  return lines;
}

function inbound(explanation: InboundExplanation): string[] {
  const { at, audit, custom, decision, path, policy, reason, requestPrincipal, rule, status } = explanation;
  const { cors = {}, notes, passedOver = [], rateLimits = [], requestHeaders, shadow = [], url } = explanation;
  const lines = [`${decision}${status === undefined ? '' : ` ${status}`}`, row('because', reason)];
  if (policy !== undefined) {
    const kind = at?.kind ?? 'AuthorizationPolicy';
    lines.push(row('policy', `${kind} ${policy}${rule === undefined ? '' : ` rules[${rule}]`}${place(at)}`));
  }
  if (path !== undefined) lines.push(row('path', path));
  if (url !== undefined && url !== path) lines.push(row('url', url));
  if (requestPrincipal !== undefined) lines.push(row('token of', requestPrincipal));
  if (custom !== undefined) {
    lines.push(row('asked', `${custom.provider} by ${custom.policy} rules[${custom.rule}]: ${custom.outcome}`));
  }
  for (const { action, matched, result } of shadow) lines.push(row('dry run', `${action}: ${result} (${matched})`));
  if (audit !== undefined) lines.push(row('audit', `${audit.policy} rules[${audit.rule}]`));
  for (const name of rateLimits) lines.push(row('rate limit', name));
  for (const [name, value] of Object.entries(cors)) lines.push(row('response', `set ${name}: ${value}`));
  for (const [name, value] of Object.entries(requestHeaders ?? {})) {
    lines.push(row('header', `${name}: ${secretHeader.test(name) ? '…' : value}`));
  }
  for (const passed of passedOver) {
    lines.push(row('no match', `${passed.rule}${place(passed.at)}`));
    for (const why of passed.reasons) lines.push(row('', why));
  }
  for (const note of notes) lines.push(row('note', note));
  return lines;
}

/** The answer for people is pasted into tickets. */
const secretHeader = /authorization|cookie|token|secret|passw|api-?key|credential/i;
