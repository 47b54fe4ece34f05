import { compileReplacement, type RegexRewrite, type Rewrite } from 'inmesh/model';
import type { RegexMatchAndSubstitute } from '../proto/envoy/matchers.ts';
import type { RouteAction } from '../proto/envoy/route-action.ts';
import { uriTemplateRewriteConfigSchema } from '../proto/envoy/route-match.ts';
import { ResourceError } from '../resources.ts';
import { lineOf } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';
import { type PathTemplate, templateSubstitution } from './path-template.ts';
import { regexOf } from './string-matchers.ts';
import { unpackAt } from './unpack.ts';

export function regexRewriteOf({ pattern, substitution }: RegexMatchAndSubstitute, path: string): RegexRewrite {
  if (pattern === undefined) throw new ResourceError(`${path}.pattern`, 'is missing');
  regexOf(pattern, `${path}.pattern`);
  lineOf(substitution, `${path}.substitution`);
  const rewrite = { pattern: pattern.regex, substitution };
  checkRewrite(rewrite, `${path}.substitution`);
  return rewrite;
}

/** Not all that matches can be replaced. */
function checkRewrite({ pattern, substitution }: RegexRewrite, path: string): void {
  try {
    compileReplacement(pattern, substitution);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ResourceError(path, message, { value: substitution });
  }
}

/**
 * What a route changes of the path and the authority.
 *
 * @param template of the path that the route matches
 * @param authority that header edits set; that of the action goes before it
 */
export function rewriteOf(
  message: RouteAction,
  template: PathTemplate | undefined,
  authority: string | undefined,
  path: string,
  remarks: Remarks,
): Rewrite | undefined {
  const { host_rewrite_literal: literal, path_rewrite_policy: policy, prefix_rewrite: prefix } = message;
  if (message.auto_host_rewrite === true) {
    remarks.ignored(`${path}.auto_host_rewrite`, 'the authority stays that of the request');
  }
  if (message.host_rewrite_header !== undefined && message.host_rewrite_header !== '') {
    remarks.ignored(`${path}.host_rewrite_header`, 'the authority stays that of the request');
  }
  if (message.host_rewrite_path_regex !== undefined) {
    remarks.ignored(`${path}.host_rewrite_path_regex`, 'the authority stays that of the request');
  }
  lineOf(prefix, `${path}.prefix_rewrite`);
  lineOf(literal, `${path}.host_rewrite_literal`);
  const host = literal === undefined || literal === '' ? authority : literal;
  let regex: RegexRewrite | undefined;
  if (message.regex_rewrite !== undefined) {
    if (prefix !== '') throw new ResourceError(`${path}.regex_rewrite`, 'cannot be beside prefix_rewrite');
    regex = regexRewriteOf(message.regex_rewrite, `${path}.regex_rewrite`);
  }
  if (policy !== undefined) {
    const at = `${path}.path_rewrite_policy.typed_config`;
    const rewrite = unpackAt(uriTemplateRewriteConfigSchema, policy.typed_config, at);
    if (rewrite === undefined || template === undefined) {
      throw new ResourceError(at, 'expected a UriTemplateRewriteConfig on a route that matches a path template');
    }
    const substitution = templateSubstitution(rewrite.path_template_rewrite, template, `${at}.path_template_rewrite`);
    regex = { pattern: `^${template.pattern}$`, substitution };
    checkRewrite(regex, `${at}.path_template_rewrite`);
  }
  const rewrite: Rewrite = {
    ...(prefix === '' || regex !== undefined ? {} : { pathPrefix: prefix }),
    ...(regex === undefined ? {} : { pathRegex: regex }),
    ...(host === undefined ? {} : { authority: host }),
  };
  return Object.keys(rewrite).length === 0 ? undefined : rewrite;
}
