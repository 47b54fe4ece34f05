import { grpcStatusNames, grpcStatusNumber } from '../lib/grpc-status.ts';
import type { Collector, Subject } from './collector.ts';
import type { Path } from './document.ts';
import { isHeaderPattern } from './istio-headers.ts';
import { redirectCodes } from './istio-http-actions.ts';
import { checkDestination, checkRegex } from './istio-rule-checks.ts';
import type {
  CorsPolicySpec,
  DirectResponseSpec,
  FaultSpec,
  HttpRouteSpec,
  PercentSpec,
  VirtualService,
} from './istio-virtual-service.ts';
import { durationMs } from './values.ts';

/** Istio's rules for `redirect`. */
export function checkRedirect(resource: VirtualService, spec: HttpRouteSpec, base: Path, collector: Collector): void {
  if (spec.redirect === undefined) return;
  const path = [...base, 'redirect'];
  const { uri = '', prefixRewrite = '', authority = '', scheme = '', redirectCode = 0 } = spec.redirect;
  const hasPort = Object.hasOwn(spec.redirect, 'port') || Object.hasOwn(spec.redirect, 'derivePort');
  if (uri !== '' && prefixRewrite !== '') {
    collector.problem(resource, path, 'may have only one of uri and prefixRewrite');
  }
  if (prefixRewrite !== '') {
    for (const [index, { uri: match }] of (spec.match ?? []).entries()) {
      if (match === undefined || Object.hasOwn(match, 'prefix')) continue;
      const at = [...base, 'match', index, 'uri'];
      collector.problem(resource, at, 'must be a prefix: the redirect replaces the prefix that matched');
    }
  }
  if (uri + prefixRewrite + authority + scheme === '' && !hasPort) {
    collector.problem(resource, path, 'needs a uri, prefixRewrite, authority, scheme or port');
  }
  if (scheme !== '' && scheme !== 'http' && scheme !== 'https') {
    collector.problem(resource, [...path, 'scheme'], 'must be http or https', scheme);
  }
  if (redirectCode === 0) return;
  if (redirectCode < 300 || redirectCode > 399) {
    collector.problem(resource, [...path, 'redirectCode'], 'must be from 300 to 399', redirectCode);
  } else if (!redirectCodes.includes(redirectCode)) {
    const note = `sidecars redirect with ${redirectCodes.join(', ')} only, and drop their configuration at others`;
    collector.warn(resource, [...path, 'redirectCode'], 'enforced', note);
  }
}

/** A body that is larger is a burden for the control plane, says Istio. */
const largeBody = 100 * 1024;
const maxBody = 1024 * 1024;

/** Istio's rules for `directResponse`. */
export function checkDirectResponse(
  resource: Subject,
  spec: DirectResponseSpec | undefined,
  path: Path,
  collector: Collector,
): void {
  if (spec === undefined) return;
  checkStatus(resource, spec.status, [...path, 'status'], collector);
  const { bytes, string } = spec.body ?? {};
  if (bytes !== undefined && !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(bytes)) {
    collector.problem(resource, [...path, 'body', 'bytes'], 'must be base64', bytes);
    return;
  }
  const size = bytes === undefined ? Buffer.byteLength(string ?? '') : Buffer.byteLength(bytes, 'base64');
  if (size > maxBody) collector.problem(resource, [...path, 'body'], 'must not be larger than 1 MiB', size);
  else if (size > largeBody) collector.warn(resource, [...path, 'body'], 'enforced', 'is large');
}

/** Istio's rules for `fault`. */
export function checkFault(
  resource: VirtualService,
  spec: FaultSpec | undefined,
  path: Path,
  collector: Collector,
): void {
  if (spec === undefined) return;
  const { delay, abort } = spec;
  if (delay === undefined && abort === undefined) collector.problem(resource, path, 'needs a delay or an abort');
  if (delay !== undefined) {
    const at = [...path, 'delay'];
    checkPercentage(resource, delay.percentage, [...at, 'percentage'], collector);
    if (delay.exponentialDelay !== undefined) {
      collector.problem(resource, [...at, 'exponentialDelay'], 'is not supported, by Istio neither');
    }
    if (delay.percentage === undefined && delay.percent !== undefined) {
      collector.warn(resource, [...at, 'percent'], 'enforced', 'is deprecated: write percentage: {value: …}');
    } else if (delay.percentage === undefined) {
      collector.warn(resource, at, 'enforced', 'has no percentage: nothing is delayed');
    }
  }
  if (abort === undefined) return;
  const at = [...path, 'abort'];
  checkPercentage(resource, abort.percentage, [...at, 'percentage'], collector);
  if (abort.percentage === undefined) {
    collector.warn(resource, at, 'enforced', 'has no percentage: nothing is aborted');
  }
  if (abort.httpStatus !== undefined) checkStatus(resource, abort.httpStatus, [...at, 'httpStatus'], collector);
  else if (abort.http2Error !== undefined) {
    collector.problem(resource, [...at, 'http2Error'], 'is not supported, by Istio neither', abort.http2Error);
  } else if (abort.grpcStatus === undefined) {
    collector.warn(resource, at, 'ignored', 'has no httpStatus and no grpcStatus: nothing is aborted');
  } else if (grpcStatusNumber(abort.grpcStatus) === undefined) {
    const text = `must be one of ${grpcStatusNames.join(', ')}`;
    collector.problem(resource, [...at, 'grpcStatus'], text, abort.grpcStatus);
  }
}

function checkStatus(resource: Subject, status: number, path: Path, collector: Collector): void {
  // Istio lets 600 pass.
  if (status < 200 || status > 600) collector.problem(resource, path, 'must be a status from 200 to 599', status);
  else if (status === 600) collector.warn(resource, path, 'approximated', 'there is no status 600: it becomes another');
}

function checkPercentage(
  resource: VirtualService,
  spec: PercentSpec | undefined,
  path: Path,
  collector: Collector,
): void {
  const value = spec?.value ?? 0;
  if (value === 0 || (value >= 0.0001 && value <= 100)) return;
  collector.problem(resource, [...path, 'value'], 'must be 0, or from 0.0001 to 100', value);
}

/** Istio's rules for mirrors, old and new. */
export function checkMirrors(resource: VirtualService, spec: HttpRouteSpec, path: Path, collector: Collector): void {
  if (spec.mirror !== undefined) checkDestination(resource, spec.mirror, [...path, 'mirror'], collector);
  spec.mirrors?.forEach(({ destination }, index) => {
    checkDestination(resource, destination, [...path, 'mirrors', index, 'destination'], collector);
  });
  for (const field of ['mirrorPercent', 'mirror_percent'] as const) {
    if (spec[field] === undefined) continue;
    collector.warn(resource, [...path, field], 'enforced', 'is deprecated: write mirrorPercentage: {value: …}');
  }
}

const corsMethods: readonly string[] = 'GET,HEAD,POST,PUT,PATCH,DELETE,CONNECT,OPTIONS,TRACE,*'.split(',');

/** Istio's rules for `corsPolicy`. */
export function checkCors(
  resource: VirtualService,
  spec: CorsPolicySpec | undefined,
  path: Path,
  collector: Collector,
): void {
  if (spec === undefined) return;
  spec.allowOrigins?.forEach((origin, index) => {
    const at = [...path, 'allowOrigins', index];
    if ((origin.exact ?? origin.prefix ?? origin.regex ?? '') === '') {
      collector.problem(resource, at, 'needs an exact, a prefix or a regex that is not empty');
    } else checkRegex(resource, origin.regex, [...at, 'regex'], collector);
  });
  if (spec.allowOrigin !== undefined) {
    collector.warn(resource, [...path, 'allowOrigin'], 'enforced', 'is deprecated: write allowOrigins: [{exact: …}]');
  }
  spec.allowMethods?.forEach((method, index) => {
    if (corsMethods.includes(method)) return;
    collector.problem(resource, [...path, 'allowMethods', index], `must be one of ${corsMethods.join(', ')}`, method);
  });
  for (const field of ['allowHeaders', 'exposeHeaders'] as const) {
    spec[field]?.forEach((name, index) => {
      if (isHeaderPattern(name)) return;
      collector.problem(resource, [...path, field, index], 'must be the name of a header, or *', name);
    });
  }
  if ((durationMs(spec.maxAge) ?? 0) % 1_000 !== 0) {
    collector.problem(resource, [...path, 'maxAge'], 'must be whole seconds', spec.maxAge);
  }
}
