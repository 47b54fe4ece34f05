import { compileStringMatch, type HeaderMatch, type QueryMatch, type RouteMatch, type StringMatch } from 'inmesh/model';
import { typeOf } from '../proto/any.ts';
import type { HeaderMatcher, RouteMatch as Message, QueryParameterMatcher } from '../proto/envoy/route-match.ts';
import { uriTemplateMatchConfigSchema } from '../proto/envoy/route-match.ts';
import { ResourceError } from '../resources.ts';
import { percentOf, rangeMatch } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';
import { type PathTemplate, pathTemplate } from './path-template.ts';
import { headerTextOf, regexOf, stringMatchOf } from './string-matchers.ts';
import { unpackAt } from './unpack.ts';

/** Requests that a route takes. */
export interface ReadMatch {
  /** Any one of them; nothing in the list: every request. Absent: no request at all. */
  readonly matches?: readonly RouteMatch[];
  /** The path was given as a template: its variables are groups of the expression. */
  readonly template?: PathTemplate;
}

/** Conditions on headers, any one of which will do. */
interface Alternative {
  readonly pseudo?: Pick<RouteMatch, 'authority' | 'method' | 'scheme'>;
  readonly headers?: readonly HeaderMatch[];
  readonly withoutHeaders?: readonly HeaderMatch[];
}

/** As many combinations of alternatives one route may have. */
const maxAlternatives = 64;

/** What a route matches; conditions that cannot be looked at hold for no request, and are reported. */
export function matchOf(message: Message | undefined, path: string, remarks: Remarks): ReadMatch {
  if (message === undefined) throw new ResourceError(path, 'is missing: a route needs it');
  const { paths, template } = pathsOf(message, path);
  const never = whyNever(message);
  if (never !== undefined) {
    remarks.ignored(`${path}.${never.field}`, `${never.note}: the route takes no request`);
    return {};
  }
  let alternatives: readonly Alternative[] = [{}];
  for (const [index, matcher] of message.headers.entries()) {
    const at = `${path}.headers[${index}]`;
    const next = headerAlternatives(matcher, at);
    alternatives = alternatives.flatMap((one) => next.map((other) => both(one, other)));
    if (alternatives.length > maxAlternatives) {
      throw new ResourceError(at, `more than ${maxAlternatives} combinations of headers that may be absent`);
    }
  }
  if (message.grpc !== undefined) {
    alternatives = alternatives.map((each) => both(each, { headers: [grpcOnly] }));
  }
  const queryParams = message.query_parameters.map((each, index) =>
    queryMatch(each, `${path}.query_parameters[${index}]`),
  );
  const matches = paths.flatMap((wanted) =>
    alternatives.map(({ pseudo, headers, withoutHeaders }) => ({
      ...wanted,
      ...pseudo,
      ...(headers === undefined ? {} : { headers }),
      ...(withoutHeaders === undefined ? {} : { withoutHeaders }),
      ...(queryParams.length === 0 ? {} : { queryParams }),
    })),
  );
  return { matches: alternatives.length === 0 ? [] : matches, ...(template === undefined ? {} : { template }) };
}

const grpcOnly: HeaderMatch = { name: 'content-type', match: { kind: 'regex', value: 'application/grpc(\\+.*)?' } };

/** Conditions that are about something that there is not in this process. */
function whyNever(message: Message): { readonly field: string; readonly note: string } | undefined {
  if (message.connect_matcher !== undefined) {
    return { field: 'connect_matcher', note: 'requests of CONNECT are not routed' };
  }
  if (message.tls_context !== undefined) {
    return { field: 'tls_context', note: 'the caller is this process itself, without TLS' };
  }
  if (message.dynamic_metadata.length > 0) {
    return { field: 'dynamic_metadata', note: 'no filter leaves metadata with a request' };
  }
  if (message.filter_state.length > 0) return { field: 'filter_state', note: 'no filter leaves state with a request' };
  if (message.cookies.length > 0) return { field: 'cookies', note: 'cookies are not looked at' };
  const { runtime_fraction: fraction } = message;
  if (fraction !== undefined && percentOf(fraction.default_value, 'runtime_fraction.default_value') < 100) {
    return { field: 'runtime_fraction', note: 'a share of the requests is chosen by weights of clusters only' };
  }
  return undefined;
}

type PathPart = Pick<RouteMatch, 'path' | 'pathIgnoreCase'>;

function pathsOf(
  message: Message,
  path: string,
): { readonly paths: readonly PathPart[]; readonly template?: PathTemplate } {
  const { path_match_policy: policy, path_separated_prefix: separated, prefix, safe_regex: regex } = message;
  const withCase = message.case_sensitive === false ? { pathIgnoreCase: true } : {};
  if (prefix !== undefined) {
    return { paths: [prefix === '' ? {} : { path: { kind: 'prefix', value: prefix }, ...withCase }] };
  }
  if (message.path !== undefined) return { paths: [{ path: { kind: 'exact', value: message.path }, ...withCase }] };
  if (regex !== undefined) return { paths: [{ path: regexOf(regex, `${path}.safe_regex`) }] };
  if (separated !== undefined) {
    if (!/^[^?#]+[^?#/]$/.test(separated)) {
      throw new ResourceError(
        `${path}.path_separated_prefix`,
        'expected a path without ? and # that does not end in /',
        {
          value: separated,
        },
      );
    }
    return {
      paths: [
        { path: { kind: 'exact', value: separated }, ...withCase },
        { path: { kind: 'prefix', value: `${separated}/` }, ...withCase },
      ],
    };
  }
  if (policy !== undefined) {
    const at = `${path}.path_match_policy.typed_config`;
    const template = unpackAt(uriTemplateMatchConfigSchema, policy.typed_config, at);
    if (template === undefined) {
      throw new ResourceError(at, 'expected a UriTemplateMatchConfig', {
        value: policy.typed_config && typeOf(policy.typed_config),
      });
    }
    const read = pathTemplate(template.path_template, `${at}.path_template`);
    return { paths: [{ path: { kind: 'regex', value: read.pattern } }], template: read };
  }
  if (message.connect_matcher !== undefined) return { paths: [] };
  throw new ResourceError(
    path,
    'needs one of prefix, path, safe_regex, path_separated_prefix, path_match_policy and connect_matcher',
  );
}

/** Envoy's rules: a header that is absent matches nothing, inverted or not, unless it counts as empty. */
function headerAlternatives(matcher: HeaderMatcher, path: string): readonly Alternative[] {
  const name = matcher.name.toLowerCase();
  if (name === '') throw new ResourceError(`${path}.name`, 'must not be empty');
  const { invert_match: inverted, present_match: present, treat_missing_header_as_empty: missingIsEmpty } = matcher;
  const there: Alternative = { headers: [{ name, match: { kind: 'present' } }] };
  const absent: Alternative = { withoutHeaders: [{ name, match: { kind: 'present' } }] };
  const match = valueMatch(matcher, path);
  if (match === 'present') {
    const wanted = (present ?? true) !== inverted;
    // A header that counts as empty when it is absent is always there.
    if (missingIsEmpty) return wanted ? [{}] : [];
    return [wanted ? there : absent];
  }
  const without: Alternative = { withoutHeaders: match === undefined ? [] : [{ name, match }] };
  if (inverted) {
    if (match === undefined) return missingIsEmpty ? [{}] : [there];
    return [missingIsEmpty ? without : both(there, without)];
  }
  if (match === undefined) return [];
  const plain = plainMatch(name, match);
  return missingIsEmpty && compileStringMatch(match)('') ? [plain, absent] : [plain];
}

/** Nothing: no value at all matches. */
function valueMatch(matcher: HeaderMatcher, path: string): StringMatch | 'present' | undefined {
  const text = headerTextOf(matcher, path);
  if (text !== undefined) return text;
  if (matcher.range_match !== undefined) {
    return rangeMatch(matcher.range_match.start, matcher.range_match.end, `${path}.range_match`);
  }
  return 'present';
}

const pseudoFields: Readonly<Record<string, 'authority' | 'method' | 'scheme'>> = {
  ':authority': 'authority',
  host: 'authority',
  ':method': 'method',
  ':scheme': 'scheme',
};

function plainMatch(name: string, match: StringMatch): Alternative {
  const field = Object.hasOwn(pseudoFields, name) ? pseudoFields[name] : undefined;
  return field === undefined ? { headers: [{ name, match }] } : { pseudo: { [field]: match } };
}

function both(a: Alternative, b: Alternative): Alternative {
  const pseudo = { ...a.pseudo };
  const extra: HeaderMatch[] = [];
  for (const [field, match] of Object.entries(b.pseudo ?? {})) {
    const known = field as keyof typeof pseudo;
    // A second condition on the same one has its place among the headers.
    if (pseudo[known] === undefined) pseudo[known] = match;
    else extra.push({ name: `:${field}`, match });
  }
  const headers = [...(a.headers ?? []), ...(b.headers ?? []), ...extra];
  const withoutHeaders = [...(a.withoutHeaders ?? []), ...(b.withoutHeaders ?? [])];
  return {
    ...(Object.keys(pseudo).length === 0 ? {} : { pseudo }),
    ...(headers.length === 0 ? {} : { headers }),
    ...(withoutHeaders.length === 0 ? {} : { withoutHeaders }),
  };
}

function queryMatch(
  { name, present_match: present, string_match: match }: QueryParameterMatcher,
  path: string,
): QueryMatch {
  if (name === '') throw new ResourceError(`${path}.name`, 'must not be empty');
  if (match !== undefined) return { name, match: stringMatchOf(match, `${path}.string_match`) };
  if (present === false) {
    throw new ResourceError(`${path}.present_match`, 'expected true: that a parameter is absent cannot be asked', {
      value: present,
    });
  }
  return { name, match: { kind: 'present' } };
}

/** Does every request meet it? */
export function isCatchAll(match: RouteMatch): boolean {
  const { path, pathIgnoreCase: _, ...others } = match;
  if (Object.keys(others).length > 0) return false;
  return path === undefined || (path.kind === 'prefix' && path.value === '/');
}
