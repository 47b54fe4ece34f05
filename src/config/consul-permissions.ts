import type { AuthorizationCondition, AuthorizationOperation, AuthorizationRule } from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { HeaderPermission, HttpPermission } from './consul-intentions.ts';

/** What an L7 permission is about, as a rule for any caller. */
export function permissionRule({ Header = [], Methods = [], ...paths }: HttpPermission): AuthorizationRule {
  const path = pathOf(paths);
  const operation: AuthorizationOperation = {
    ...(path === undefined ? {} : { paths: [path] }),
    // Consul stores them in upper case.
    ...(Methods.length === 0 ? {} : { methods: Methods.map((method) => exact(method.toUpperCase())) }),
  };
  return {
    from: [],
    to: Object.keys(operation).length === 0 ? [] : [operation],
    ...(Header.length === 0 ? {} : { when: Header.map(headerCondition) }),
  };
}

function pathOf({ PathExact, PathPrefix, PathRegex }: HttpPermission): StringMatch | undefined {
  if (PathExact !== undefined) return exact(PathExact);
  if (PathPrefix !== undefined) return { kind: 'prefix', value: PathPrefix };
  return PathRegex === undefined ? undefined : { kind: 'regex', value: PathRegex };
}

/** `Invert` turns the value round, not the presence: a header that is absent only lacks `Present` (Envoy `invert_match`). */
function headerCondition(header: HeaderPermission): AuthorizationCondition {
  const about = { attribute: 'header', name: header.Name.toLowerCase() } as const;
  const match = headerMatch(header);
  if (header.Invert !== true) return { ...about, values: [match] };
  if (match.kind === 'present') return { ...about, notValues: [match] };
  return { ...about, values: [{ kind: 'present' }], notValues: [match] };
}

function headerMatch(header: HeaderPermission): StringMatch {
  const { Contains, Exact, IgnoreCase = false, Prefix, Regex, Suffix } = header;
  if (Regex !== undefined) return { kind: 'regex', value: Regex };
  const form = Exact !== undefined ? 'exact' : Prefix !== undefined ? 'prefix' : Suffix !== undefined ? 'suffix' : '';
  const text = Exact ?? Prefix ?? Suffix ?? Contains;
  if (text === undefined) return { kind: 'present' };
  if (form !== '' && !IgnoreCase) return { kind: form, value: text };
  const before = form === 'suffix' || form === '' ? '.*' : '';
  const behind = form === 'prefix' || form === '' ? '.*' : '';
  return { kind: 'regex', value: `(?s${IgnoreCase ? 'i' : ''})${before}${quoted(inBytes(text))}${behind}` };
}

/** As Node.js shows a header: each byte as one character. */
function inBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** RE2 takes a backslash before any punctuation for that character. */
function quoted(text: string): string {
  return text.replaceAll(/[\\.+*?()|[\]{}^$]/g, String.raw`\$&`);
}

function exact(value: string): StringMatch {
  return { kind: 'exact', value };
}
