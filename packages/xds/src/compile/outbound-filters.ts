import { type CorsPolicy, compileStringMatch, type Fault } from 'inmesh/model';
import { type Any, any, typeOf } from '../proto/any.ts';
import {
  type CorsPolicy as CorsMessage,
  corsPolicySchema,
  type HttpFault,
  httpFaultSchema,
} from '../proto/envoy/http-filters.ts';
import { bool } from '../proto/kinds.ts';
import { type Schema, schema, single } from '../proto/schema.ts';
import { ResourceError } from '../resources.ts';
import { percentOf } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';
import { stringMatchOf } from './string-matchers.ts';
import { unpackAt } from './unpack.ts';

/** What filters do for a route. */
export interface ReadFilters {
  readonly fault?: Fault;
  readonly cors?: CorsPolicy;
}

interface FilterConfig {
  readonly config: Any | undefined;
  readonly is_optional: boolean;
  readonly disabled: boolean;
}

const filterConfigSchema: Schema<FilterConfig> = schema<FilterConfig>('envoy.config.route.v3.FilterConfig', {
  fields: { config: single(1, any), is_optional: single(2, bool), disabled: single(3, bool) },
});

/** `typed_per_filter_config` of one level; `above`: what the level above it says. */
export function filtersOf(
  configs: ReadonlyMap<string, Any | undefined>,
  above: ReadFilters,
  path: string,
  remarks: Remarks,
): ReadFilters {
  let result = above;
  for (const [name, config] of configs) {
    if (config === undefined) continue;
    const at = `${path === '' ? '' : `${path}.`}typed_per_filter_config[${JSON.stringify(name)}]`;
    const note = (field: string): void => remarks.ignored(field, 'not read');
    const wrapper = unpackAt(filterConfigSchema, config, at);
    const inner = wrapper === undefined ? config : wrapper.config;
    const type = inner === undefined ? '' : typeOf(inner);
    const isFault = type === httpFaultSchema.name || (type === '' && name.endsWith('.fault'));
    const isCors = type === corsPolicySchema.name || (type === '' && name.endsWith('.cors'));
    if (isFault) {
      const { fault: _, ...others } = result;
      const message = wrapper?.disabled === true ? undefined : unpackAt(httpFaultSchema, inner, at, note);
      const fault = message === undefined ? undefined : faultOf(message, at, remarks);
      result = { ...others, ...(fault === undefined ? {} : { fault }) };
    } else if (isCors) {
      const { cors: _, ...others } = result;
      const message = wrapper?.disabled === true ? undefined : unpackAt(corsPolicySchema, inner, at, note);
      const cors = message === undefined ? undefined : corsOf(message, at, remarks);
      result = { ...others, ...(cors === undefined ? {} : { cors }) };
    } else remarks.ignored(at, `${type === '' ? name : type} has no meaning for calls`);
  }
  return result;
}

/** Envoy's fault filter; nothing where it does nothing. */
export function faultOf(message: HttpFault, path: string, remarks: Remarks): Fault | undefined {
  const { abort, delay, headers, max_active_faults: maxActive } = message;
  if (headers.length > 0) {
    remarks.ignored(path, 'faults for some headers only are not to be had: there are none');
    return undefined;
  }
  if (message.upstream_cluster !== '') {
    remarks.ignored(path, 'faults for one cluster only are not to be had: there are none');
    return undefined;
  }
  if (message.response_rate_limit !== undefined) {
    remarks.ignored(`${path}.response_rate_limit`, 'answers arrive at the speed at which they come');
  }
  const delayPercent = percentOf(delay?.percentage, `${path}.delay.percentage`);
  const abortPercent = percentOf(abort?.percentage, `${path}.abort.percentage`);
  const delayMs = delay?.fixed_delay ?? 0;
  const status = abort?.http_status;
  const grpcStatus = abort?.grpc_status;
  if (status !== undefined && (status < 200 || status > 599)) {
    throw new ResourceError(`${path}.abort.http_status`, 'expected a status from 200 to 599', { value: status });
  }
  const answer =
    status === undefined ? (grpcStatus === undefined ? undefined : { status: 200, grpcStatus }) : { status };
  const byHeaders =
    delay?.header_delay !== undefined || abort?.header_abort !== undefined
      ? {
          maxPercent: Math.max(
            delay?.header_delay && delayPercent ? delayPercent : 0,
            abort?.header_abort ? abortPercent : 0,
          ),
        }
      : undefined;
  const fault: Fault = {
    ...(delayMs > 0 && delayPercent > 0 ? { delay: { delayMs, percent: delayPercent } } : {}),
    ...(answer !== undefined && abortPercent > 0 ? { abort: { ...answer, percent: abortPercent } } : {}),
    level: 'call',
    ...(maxActive === undefined ? {} : { maxActive }),
    ...(byHeaders === undefined ? {} : { byHeaders }),
  };
  return fault.delay === undefined && fault.abort === undefined && byHeaders === undefined ? undefined : fault;
}

const list = (text: string): readonly string[] =>
  text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');

function corsOf(message: CorsMessage, path: string, remarks: Remarks): CorsPolicy | undefined {
  const { filter_enabled: enabled, max_age: maxAge } = message;
  const percent =
    enabled === undefined ? 100 : percentOf(enabled.default_value, `${path}.filter_enabled.default_value`);
  if (percent === 0) return undefined;
  if (percent < 100) remarks.approximated(`${path}.filter_enabled`, 'it is on for all requests');
  if (message.shadow_enabled !== undefined)
    remarks.ignored(`${path}.shadow_enabled`, 'nothing is tried without effect');
  if (message.allow_private_network_access === true) {
    remarks.ignored(`${path}.allow_private_network_access`, 'the header for it is not sent');
  }
  const allowOrigins = message.allow_origin_string_match.map((each, index) => {
    const match = stringMatchOf(each, `${path}.allow_origin_string_match[${index}]`);
    compileStringMatch(match);
    return match;
  });
  if (maxAge !== '' && !/^\d{1,12}$/.test(maxAge)) {
    throw new ResourceError(`${path}.max_age`, 'expected a number of seconds', { value: maxAge });
  }
  const credentials = message.allow_credentials;
  return {
    allowOrigins,
    allowMethods: list(message.allow_methods),
    allowHeaders: list(message.allow_headers),
    exposeHeaders: list(message.expose_headers),
    ...(maxAge === '' ? {} : { maxAgeMs: Number(maxAge) * 1_000 }),
    ...(credentials === undefined ? {} : { allowCredentials: credentials }),
    forwardUnmatchedPreflights: message.forward_not_matching_preflights ?? true,
  };
}
