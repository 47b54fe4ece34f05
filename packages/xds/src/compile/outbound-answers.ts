import type { DirectResponse, Redirect } from 'inmesh/model';
import type { DirectResponseAction, RedirectAction } from '../proto/envoy/route-answers.ts';
import { ResourceError } from '../resources.ts';
import { lineOf } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';
import { regexRewriteOf } from './outbound-rewrite.ts';

const statuses: Readonly<Record<string, number>> = {
  MOVED_PERMANENTLY: 301,
  FOUND: 302,
  SEE_OTHER: 303,
  TEMPORARY_REDIRECT: 307,
  PERMANENT_REDIRECT: 308,
};

export function redirectOf(message: RedirectAction, path: string, remarks: Remarks): Redirect {
  const status = statuses[message.response_code];
  if (status === undefined) {
    throw new ResourceError(`${path}.response_code`, 'expected one of its five values', {
      value: message.response_code,
    });
  }
  if (message.strip_query) remarks.ignored(`${path}.strip_query`, 'the query stays');
  const scheme = message.https_redirect === true ? 'https' : message.scheme_redirect;
  const { host_redirect: host, path_redirect: whole, port_redirect: port, prefix_rewrite: prefix } = message;
  if (port > 65_535) throw new ResourceError(`${path}.port_redirect`, 'expected a port', { value: port });
  lineOf(scheme, `${path}.scheme_redirect`);
  lineOf(host, `${path}.host_redirect`);
  lineOf(prefix, `${path}.prefix_rewrite`);
  lineOf(whole, `${path}.path_redirect`);
  const value = prefix ?? whole;
  return {
    status,
    ...(scheme === undefined || scheme === '' ? {} : { scheme }),
    ...(host === '' ? {} : { authority: host }),
    ...(port === 0 || port === (scheme === 'https' ? 443 : 80) ? {} : { port }),
    ...(value === undefined || value === '' ? {} : { path: { value, prefix: prefix !== undefined } }),
    ...(message.regex_rewrite === undefined
      ? {}
      : { pathRegex: regexRewriteOf(message.regex_rewrite, `${path}.regex_rewrite`) }),
  };
}

/** As much as Envoy allows by default (`max_direct_response_body_size_bytes`). */
const defaultMaxBody = 4_096;

export function directOf(
  message: DirectResponseAction,
  maxBody: number | undefined,
  path: string,
  remarks: Remarks,
): DirectResponse {
  const { body, status } = message;
  if (status < 200 || status > 599) {
    throw new ResourceError(`${path}.status`, 'expected a status from 200 to 599', { value: status });
  }
  if (body?.filename !== undefined || body?.environment_variable !== undefined) {
    remarks.ignored(`${path}.body`, 'only a body that is part of the configuration is sent');
  }
  const content = body?.inline_string ?? body?.inline_bytes;
  const size = typeof content === 'string' ? Buffer.byteLength(content) : (content?.length ?? 0);
  if (size > (maxBody ?? defaultMaxBody)) {
    throw new ResourceError(`${path}.body`, `expected at most ${maxBody ?? defaultMaxBody} bytes`, { value: size });
  }
  return { status, ...(content === undefined || content.length === 0 ? {} : { body: content }) };
}

/** For routes that Envoy knows how to act on and that have no action here: calls fail, and go nowhere else. */
export const unavailable: DirectResponse = { status: 503 };
