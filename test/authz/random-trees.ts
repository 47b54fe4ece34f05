import type { RbacFilter, RbacHeaderMatch, RbacMatch, RbacPolicy, RbacRules } from '../../src/model/rbac.ts';
import type { StringMatch } from '../../src/model/string-match.ts';
import { allPaths, type Chooser } from './random-policies.ts';

// The words of random-policies.ts, so that trees and requests meet often, and nearly do.
const domains = ['cluster.local', 'td-1', 'clusterxlocal', 'ns'];
const namespaces = ['shop', 'shops', 'ops', 'ns', 'sa'];
const accounts = ['web', 'web-2', 'api', 'a.b', 'ns'];
const methods = ['GET', 'POST', 'HEAD'];
const hosts = ['web', 'WEB.shop', 'web.', 'web:80', 'web.shop:8080', '[::1]:80'];
const names = ['', 'web', 'web.shop', 'Web'];
const roles = ['admin', 'user', ''];
const tokens = ['https://idp/sub', 'https://idp/a/sub', 'me/bob'];
const ports = [80, 8_080, 443];
const blocks = [
  { address: '10.0.0.0', prefix: 24 },
  { address: '10.0.0.1', prefix: 32 },
  { address: '::1', prefix: 128 },
];
const templates = ['/a/{*}/c', '/Admin/{**}', '/{*}', '/a/{**}', '/{**}/c'];

function text(choose: Chooser, words: readonly string[]): StringMatch {
  const word = choose.of(words);
  const at = choose.number(word.length + 1);
  const kinds: readonly StringMatch[] = [
    { kind: 'exact', value: word },
    { kind: 'exact', value: word },
    { kind: 'exact', value: word },
    { kind: 'prefix', value: word.slice(0, at) || 'w' },
    { kind: 'suffix', value: word.slice(at) || 'b' },
    { kind: 'present' },
    { kind: 'regex', value: `(?i)${word.slice(0, at).replaceAll(/[.*+?^${}()|[\]\\;%]/g, '\\$&')}.*` },
  ];
  return choose.of(kinds);
}

/** As istiod writes principals, namespaces and service accounts, and as others might. */
function principal(choose: Chooser): StringMatch {
  const [domain, namespace, account] = [choose.of(domains), choose.of(namespaces), choose.of(accounts)];
  const id = `spiffe://${domain}/ns/${namespace}/sa/${account}`;
  const kinds: readonly StringMatch[] = [
    { kind: 'exact', value: id },
    { kind: 'exact', value: id },
    { kind: 'regex', value: `.*/ns/${namespace}/.*` },
    { kind: 'regex', value: `spiffe://.+/ns/${namespace}/(.+/|)sa/${account}(/.+)?` },
    { kind: 'suffix', value: `/ns/${namespace}/sa/${account}` },
    { kind: 'suffix', value: `ns/${namespace}/sa/${account}` },
    { kind: 'prefix', value: `spiffe://${domain}/` },
    { kind: 'present' },
  ];
  return choose.of(kinds);
}

function header(choose: Chooser): RbacMatch {
  const name = choose.of([':method', ':method', ':authority', 'x-role', 'x-role', 'te']);
  const words = name === ':method' ? methods : name === ':authority' ? hosts : roles;
  const range = choose.once(8) ? ({ kind: 'range', from: 1, below: 5 } as const) : undefined;
  const match: RbacHeaderMatch['match'] = range ?? text(choose, words);
  return {
    kind: 'header',
    name,
    match,
    ...(choose.once(5) ? { invert: true } : {}),
    ...(choose.once(8) && match.kind !== 'present' ? { absentIsEmpty: true } : {}),
  };
}

function permission(choose: Chooser): RbacMatch {
  const { number, of } = choose;
  return of<() => RbacMatch>([
    () => ({ kind: 'path', match: text(choose, allPaths) }),
    () => ({ kind: 'path', match: { kind: 'exact', value: of(allPaths) } }),
    () => ({ kind: 'path', match: { kind: 'prefix', value: of(allPaths) } }),
    () => ({ kind: 'template', template: of(templates) }),
    () => header(choose),
    () => header(choose),
    () => ({ kind: 'host', match: text(choose, hosts) }),
    () => ({ kind: 'destinationPort', from: of(ports), to: 443 + number(8_000) }),
    () => ({ kind: 'destinationPort', from: 80, to: 80 }),
    () => ({ kind: 'sni', match: text(choose, names) }),
    () => ({ kind: 'destinationIp', block: of(blocks) }),
  ])();
}

function caller(choose: Chooser): RbacMatch {
  const { of } = choose;
  return of<() => RbacMatch>([
    () => ({ kind: 'authenticated', match: principal(choose) }),
    () => ({ kind: 'authenticated', match: principal(choose) }),
    () => ({ kind: 'authenticated', match: principal(choose) }),
    () => ({ kind: 'authenticated' }),
    () => ({ kind: 'requestPrincipal', match: text(choose, tokens) }),
    () => ({ kind: 'requestPrincipal', match: { kind: 'exact', value: of(tokens) } }),
    () => ({ kind: 'sourceIp', block: of(blocks) }),
    () => ({ kind: 'remoteIp', block: of(blocks) }),
    () => ({ kind: 'claim', path: ['role'], value: { kind: 'text', match: text(choose, roles) } }),
    () => header(choose),
  ])();
}

function tree(choose: Chooser, leaf: (choose: Chooser) => RbacMatch, depth: number): RbacMatch {
  const kind = depth === 0 ? 9 : choose.number(10);
  const of = (): readonly RbacMatch[] =>
    Array.from({ length: 1 + choose.number(4) }, () => tree(choose, leaf, depth - 1));
  if (kind < 3) return { kind: 'and', of: of() };
  if (kind < 5) return { kind: 'or', of: of() };
  if (kind < 6) return { kind: 'not', of: tree(choose, leaf, depth - 1) };
  if (choose.once(12)) return choose.once(3) ? { kind: 'never' } : { kind: 'any' };
  return leaf(choose);
}

function randomPolicy(choose: Chooser, name: string): RbacPolicy {
  const depth = choose.number(4);
  const trees = (leaf: (choose: Chooser) => RbacMatch): readonly RbacMatch[] =>
    choose.once(6) ? [{ kind: 'any' }] : Array.from({ length: 1 + choose.number(3) }, () => tree(choose, leaf, depth));
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name };
  return { name, provenance, rule: 0, permissions: trees(permission), principals: trees(caller) };
}

/** Some filters with so many policies altogether, enforced, told of or both. */
export function randomFilters(choose: Chooser, policies: number): readonly RbacFilter[] {
  let count = 0;
  const rules = (share: number): RbacRules => ({
    action: choose.of(['ALLOW', 'DENY', 'DENY', 'LOG']),
    policies: Array.from({ length: choose.number(share + 1) }, () =>
      randomPolicy(choose, `p${String(count++).padStart(3, '0')}`),
    ),
  });
  const filters = 1 + choose.number(3);
  const share = Math.ceil(policies / filters);
  return Array.from({ length: filters }, () => ({
    provenance: { kind: 'Listener', namespace: 'xds', name: 'virtualInbound' },
    ...(choose.once(6) ? {} : { rules: rules(share) }),
    ...(choose.once(4) ? { shadow: rules(Math.min(share, 10)) } : {}),
    ...(choose.once(10) ? { scope: { ports: [80], ...(choose.once(2) ? { except: true as const } : {}) } } : {}),
  }));
}

/** SPIFFE IDs in which `ns` and `sa` come where nobody expects them, too. */
export function randomId(choose: Chooser): string {
  const { of } = choose;
  const standard = `spiffe://${of(domains)}/ns/${of(namespaces)}/sa/${of(accounts)}`;
  const odd = [
    `${standard}/x`,
    `spiffe://${of(domains)}/ns/${of(namespaces)}/k/v/sa/${of(accounts)}`,
    `spiffe://${of(domains)}/ns/${of(namespaces)}/ns/${of(namespaces)}/sa/${of(accounts)}/sa/${of(accounts)}`,
    `spiffe://${of(domains)}/${of(namespaces)}/${of(accounts)}`,
    `spiffe://${of(domains)}/ns/${of(namespaces)}`,
  ];
  return choose.once(3) ? of(odd) : standard;
}
