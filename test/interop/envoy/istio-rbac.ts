import { type Message, typed } from './bootstrap.ts';

type Texts = readonly string[] | undefined;

/** A rule of an AuthorizationPolicy, as it is written. */
export interface WrittenRule {
  readonly from?: readonly { readonly source: Readonly<Record<string, readonly string[]>> }[];
  readonly to?: readonly { readonly operation: Readonly<Record<string, readonly string[]>> }[];
  readonly when?: readonly { readonly key: string; readonly values?: Texts; readonly notValues?: Texts }[];
}

/** What istiod makes of one rule for Envoy's RBAC filter: a filter configuration for one route. */
export function rbacOf(action: 'ALLOW' | 'DENY', { from = [], to = [], when = [] }: WrittenRule): Message {
  const conditions = when.map(({ key, values, notValues }) => {
    const principal = fieldOf(key);
    return { ofDestination: key.startsWith('destination.'), parts: principal(values, notValues) };
  });
  const principals = (from.length === 0 ? [{ source: {} }] : from).map(({ source }) => [
    ...pairs(source).flatMap(({ name, values, notValues }) => fieldOf(name)(values, notValues)),
    ...conditions.flatMap(({ ofDestination, parts }) => (ofDestination ? [] : parts)),
  ]);
  const permissions = (to.length === 0 ? [{ operation: {} }] : to).map(({ operation }) => [
    ...pairs(operation).flatMap(({ name, values, notValues }) => permissionOf(name)(values, notValues)),
    ...conditions.flatMap(({ ofDestination, parts }) => (ofDestination ? parts : [])),
  ]);
  const any = { any: true };
  const policy = {
    principals: principals.map((ids) => ({ and_ids: { ids: ids.length === 0 ? [any] : ids } })),
    permissions: permissions.map((rules) => ({ and_rules: { rules: rules.length === 0 ? [any] : rules } })),
  };
  return typed('envoy.extensions.filters.http.rbac.v3.RBACPerRoute', {
    rbac: { rules: { action, policies: { rule: policy } } },
  });
}

type Compile = (values: Texts, notValues: Texts) => readonly Message[];

/** Each value alone. */
function eachOf(kind: 'ids' | 'rules', compile: (value: string) => Message): Compile {
  const or = (values: readonly string[]): Message => ({ [`or_${kind}`]: { [kind]: values.map(compile) } });
  return (values, notValues) => {
    const not = kind === 'ids' ? 'not_id' : 'not_rule';
    return [
      ...(values === undefined ? [] : [or(values)]),
      ...(notValues === undefined ? [] : [{ [not]: or(notValues) }]),
    ];
  };
}

function fieldOf(key: string): Compile {
  if (key === 'ipBlocks' || key === 'source.ip') return eachOf('ids', (text) => ({ direct_remote_ip: rangeOf(text) }));
  if (key === 'remoteIpBlocks' || key === 'remote.ip') return eachOf('ids', (text) => ({ remote_ip: rangeOf(text) }));
  if (key === 'destination.ip') return eachOf('rules', (text) => ({ destination_ip: rangeOf(text) }));
  if (key === 'requestPrincipals' || key === 'request.auth.principal') return eachOf('ids', requestPrincipal);
  if (key === 'request.auth.audiences') return allOfClaim(['aud']);
  if (key === 'request.auth.presenter') return allOfClaim(['azp']);
  const header = /^request\.headers\[(.*)\]$/.exec(key)?.[1];
  if (header !== undefined) return eachOf('ids', (text) => ({ header: headerOf(header, text) }));
  const claim = /^request\.auth\.claims\[(.*)\]$/.exec(key)?.[1];
  if (claim !== undefined) return allOfClaim(claim.split(']['));
  throw new Error(`no translation for ${key}`);
}

function permissionOf(name: string): Compile {
  if (name === 'methods') return eachOf('rules', (text) => ({ header: headerOf(':method', text) }));
  if (name !== 'paths') throw new Error(`no translation for ${name}`);
  return eachOf('rules', (text) => {
    if (!text.includes('{')) return { url_path: { path: textOf(text) } };
    const template = text.replaceAll('{**}', '**').replaceAll('{*}', '*');
    const type = 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig';
    return { uri_template: { name: 'template', typed_config: typed(type, { path_template: template }) } };
  });
}

/** Values and their `not` form, under the name of the values. */
function pairs(fields: Readonly<Record<string, readonly string[]>>) {
  const bare = (name: string): string => (name.startsWith('not') ? `${name[3]?.toLowerCase()}${name.slice(4)}` : name);
  return [...new Set(Object.keys(fields).map(bare))].map((name) => ({
    name,
    values: fields[name],
    notValues: fields[`not${name[0]?.toUpperCase()}${name.slice(1)}`],
  }));
}

function textOf(text: string): Message {
  if (text === '*') return { safe_regex: { regex: '.+' } };
  if (text.startsWith('*')) return { suffix: text.slice(1) };
  return text.endsWith('*') ? { prefix: text.slice(0, -1) } : { exact: text };
}

function headerOf(name: string, text: string): Message {
  return text === '*' ? { name, present_match: true } : { name, string_match: textOf(text) };
}

function rangeOf(text: string): Message {
  const [address = '', length] = text.split('/');
  return {
    address_prefix: address,
    prefix_len: length === undefined ? (text.includes(':') ? 128 : 32) : Number(length),
  };
}

function metadata(path: readonly string[], value: Message): Message {
  const keys = ['payload', ...path].map((key) => ({ key }));
  return { metadata: { filter: 'envoy.filters.http.jwt_authn', path: keys, value } };
}

/** All values in one matcher, for a text and for a list. */
function allOfClaim(path: readonly string[]): Compile {
  const of = (values: readonly string[]): Message => {
    const any = values.map((text) => ({ string_match: textOf(text) }));
    const value = any.length === 1 ? (any[0] as Message) : { or_match: { value_matchers: any } };
    return metadata(path, { or_match: { value_matchers: [{ list_match: { one_of: value } }, value] } });
  };
  return (values, notValues) => [
    ...(values === undefined ? [] : [of(values)]),
    ...(notValues === undefined ? [] : [{ not_id: of(notValues) }]),
  ];
}

function requestPrincipal(text: string): Message {
  const slash = text.lastIndexOf('/');
  const issuer = slash === -1 ? text : text.slice(0, slash);
  const subject = slash === -1 ? '' : text.slice(slash + 1);
  const both = (iss: Message, sub: Message): Message => ({
    and_ids: { ids: [metadata(['iss'], { string_match: iss }), metadata(['sub'], { string_match: sub })] },
  });
  const any = textOf('*');
  if (text === '*') return both(any, any);
  if (text.startsWith('*')) {
    if (slash === -1) return both(any, textOf(text));
    return both(textOf(issuer), { exact: subject });
  }
  if (text.endsWith('*')) {
    if (slash === -1) return both(textOf(text), any);
    return both({ exact: issuer }, textOf(subject));
  }
  return both({ exact: issuer }, { exact: subject });
}
