import t from 'tap';
import { type AuthorizationObserver, compileAuthorizer } from '../../src/authz/authorizer.ts';
import { compileCustom } from '../../src/authz/custom.ts';
import { type PrefixTree, prefixTree } from '../../src/authz/prefix-tree.ts';
import { reportAuthorization } from '../../src/authz/report.ts';
import { type AuthorizationFacts, nothingDerived } from '../../src/authz/rule.ts';
import { indexRules } from '../../src/authz/rule-index.ts';
import { createTallies } from '../../src/authz/tallies.ts';
import type { AuthorizationAudit } from '../../src/index.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type {
  AuthorizationAction,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
} from '../../src/model/authorization.ts';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';
import type { StringMatch } from '../../src/model/string-match.ts';
import type { Peer } from '../../src/pipeline/scope.ts';
import { shopMesh } from '../support/shop-mesh.ts';

const policy = (
  action: AuthorizationAction,
  name: string,
  paths: readonly string[] | 'all',
  more: Partial<AuthorizationPolicy> = {},
): AuthorizationPolicy => ({
  action,
  rules:
    paths === 'all'
      ? [{ from: [], to: [] }]
      : paths.map((value): AuthorizationRule => ({ from: [], to: [{ paths: [{ kind: 'exact', value }] }] })),
  provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name },
  ...more,
});
const dry = { dryRun: true } as const;
const at = (path: string, changes: Partial<AuthorizationFacts> = {}): AuthorizationFacts =>
  ({
    peer: undefined,
    method: 'GET',
    path,
    rawPath: path,
    host: 'web',
    localPort: 8080,
    ...changes,
  }) as AuthorizationFacts;

const exact = (value: string): StringMatch => ({ kind: 'exact', value });
/** A caller, as its certificate is read. */
function parsedPeer(id: string): Peer {
  const { namespace, serviceAccount, trustDomain } = parseSpiffeId(id);
  return { spiffeId: id, trustDomain, ...(namespace && { namespace }), ...(serviceAccount && { serviceAccount }) };
}

/** An observer that keeps what it hears, as short lines. */
function listener(): AuthorizationObserver & { readonly heard: readonly string[] } {
  const heard: string[] = [];
  return {
    heard,
    audited: ({ path }, { id }, { allowed }) => void heard.push(`audit ${path} ${id} ${allowed}`),
    shadowed: ({ path }, { action, result, id }) => void heard.push(`shadow ${action} ${path} ${result} ${id}`),
  };
}

t.test('a decision names policy, rule and detail as istiod and Envoy do', async (t) => {
  const { decide } = compileAuthorizer([
    policy('DENY', 'no-admin', ['/a', '/admin']),
    policy('ALLOW', 'public', ['/public']),
  ]);
  t.match(decide(at('/admin')), {
    allowed: false,
    reason: 'denied',
    policy: { namespace: 'shop', name: 'no-admin' },
    rule: 1,
    detail: 'rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[1]]',
  });
  t.match(decide(at('/public')), { allowed: true, reason: 'allowed', policy: { name: 'public' }, rule: 0, detail: '' });
  const none = decide(at('/else'));
  t.match(none, { allowed: false, reason: 'not-allowed', detail: 'rbac_access_denied_matched_policy[none]' });
  t.equal(none.policy, undefined);
  t.equal(decide(at('/else')), none, 'decisions are made once, not for each request');
  t.match(compileAuthorizer([policy('DENY', 'd', [])]).decide(at('/')), { allowed: true, reason: 'not-denied' });
});

t.test('AUDIT sees every request, whatever is decided about it, and decides nothing', async (t) => {
  const both = [policy('AUDIT', 'watch', ['/admin', '/public']), policy('AUDIT', 'second', 'all')];
  const denied = compileAuthorizer([...both, policy('DENY', 'no-admin', ['/admin'])]);
  const { heard, ...observer } = listener();
  t.equal(denied.decide(at('/admin'), observer).allowed, false);
  t.equal(denied.decide(at('/public'), observer).allowed, true);
  t.same(heard, [
    'audit /admin ns[shop]-policy[watch]-rule[0] false',
    'audit /public ns[shop]-policy[watch]-rule[1] true',
  ]);
  t.ok(compileAuthorizer(both).decide(at('/admin')).allowed, 'AUDIT policies alone allow everything');
});

t.test('an AUDIT policy that reads paths in doubt records too much rather than too little', async (t) => {
  const { decide } = compileAuthorizer([policy('AUDIT', 'watch', ['/admin'])]);
  const { heard, ...observer } = listener();
  decide(at('/ADMIN/'), observer);
  t.equal(heard.length, 1);
});

t.test('dry runs: what they would decide is told, in the order of the filters, and nothing enforces it', async (t) => {
  const table: readonly (readonly [string, readonly AuthorizationPolicy[], string, boolean, readonly string[]])[] = [
    [
      'a DENY policy that matches',
      [policy('DENY', 'd', ['/x'], dry)],
      '/x',
      true,
      ['shadow DENY /x denied ns[shop]-policy[d]-rule[0]'],
    ],
    [
      'a DENY policy that does not match',
      [policy('DENY', 'd', ['/x'], dry)],
      '/y',
      true,
      ['shadow DENY /y allowed none'],
    ],
    [
      'an ALLOW policy that matches',
      [policy('ALLOW', 'a', ['/x'], dry)],
      '/x',
      true,
      ['shadow ALLOW /x allowed ns[shop]-policy[a]-rule[0]'],
    ],
    [
      'an ALLOW policy that does not match leaves all allowed',
      [policy('ALLOW', 'a', ['/x'], dry)],
      '/y',
      true,
      ['shadow ALLOW /y denied none'],
    ],
    ['an ALLOW policy without rules', [policy('ALLOW', 'a', [], dry)], '/y', true, ['shadow ALLOW /y denied none']],
    [
      'beside one that is enforced',
      [policy('ALLOW', 'a', ['/x'], dry), policy('ALLOW', 'b', ['/y'])],
      '/x',
      false,
      ['shadow ALLOW /x allowed ns[shop]-policy[a]-rule[0]'],
    ],
    [
      'of what DENY refuses, nobody asks ALLOW',
      [policy('ALLOW', 'a', ['/x'], dry), policy('DENY', 'd', ['/y'], dry), policy('DENY', 'e', ['/x'])],
      '/x',
      false,
      ['shadow DENY /x allowed none'],
    ],
    [
      'AUDIT and CUSTOM have no dry run',
      [policy('AUDIT', 'a', 'all', dry), policy('CUSTOM', 'c', 'all', dry)],
      '/',
      true,
      [],
    ],
  ];
  for (const [name, policies, path, allowed, lines] of table) {
    const { heard, ...observer } = listener();
    t.equal(compileAuthorizer(policies).decide(at(path), observer).allowed, allowed, name);
    t.same(heard, lines, name);
  }
});

t.test('counts: by policy and result, kept over changes of the configuration, gone with the policy', async (t) => {
  const tallies = createTallies();
  const first = compileAuthorizer(
    [policy('DENY', 'd', ['/x', '/y']), policy('DENY', 't', ['/z'], dry), policy('AUDIT', 'w', ['/z'])],
    {},
    tallies,
  );
  for (const path of ['/x', '/y', '/z', '/z']) first.decide(at(path));
  const all = [
    { policy: 'shop/d', action: 'DENY', result: 'denied', dryRun: false, requests: 2 },
    { policy: 'none', action: 'DENY', result: 'allowed', dryRun: false, requests: 2 },
    { policy: 'shop/t', action: 'DENY', result: 'denied', dryRun: true, requests: 2 },
    { policy: 'none', action: 'DENY', result: 'allowed', dryRun: true, requests: 2 },
    { policy: 'shop/w', action: 'AUDIT', result: 'matched', dryRun: false, requests: 2 },
  ];
  const byText = (counts: readonly object[]): readonly string[] => counts.map((each) => JSON.stringify(each)).sort();
  const ordered = (counts: ReturnType<typeof tallies.counts>): readonly string[] =>
    byText(
      counts.map(({ policy, action, result, dryRun, requests }) => ({ policy, action, result, dryRun, requests })),
    );
  t.same(ordered(tallies.counts()), byText(all));
  tallies.keep(new Set(['shop/d']));
  const second = compileAuthorizer([policy('DENY', 'd', ['/x'])], {}, tallies);
  second.decide(at('/x'));
  t.match(
    tallies.counts().find((each) => each.policy === 'shop/d'),
    { requests: 3 },
  );
  t.notOk(tallies.counts().some((each) => each.policy === 'shop/t' || each.policy === 'shop/w'));
});

t.test('CUSTOM: which rule asks which provider', async (t) => {
  t.equal(
    compileCustom([policy('DENY', 'd', 'all')], () => true),
    undefined,
  );
  t.equal(
    compileCustom([policy('CUSTOM', 'c', 'all', { provider: 'x', ...dry })], () => true),
    undefined,
  );
  const custom = compileCustom(
    [policy('CUSTOM', 'a', ['/a'], { provider: 'opa' }), policy('CUSTOM', 'b', ['/b', '/c'], { provider: 'opa' })],
    (provider) => provider === 'opa',
  );
  t.same([custom?.providers, custom?.problem], [['opa'], undefined]);
  t.match(custom?.find(at('/c')), { provider: 'opa', id: 'istio-ext-authz-opa-ns[shop]-policy[b]-rule[1]' });
  t.match(custom?.find(at('/C/')), { provider: 'opa' }, 'in doubt it is asked');
  t.equal(custom?.find(at('/d')), undefined);
});

t.test('CUSTOM: with several providers, or one that is not there, what matches is refused (AUTHZ-008)', async (t) => {
  const several = compileCustom(
    [policy('CUSTOM', 'a', ['/a'], { provider: 'x' }), policy('CUSTOM', 'b', ['/b'], { provider: 'opa' })],
    () => true,
  );
  t.equal(several?.problem, 'CUSTOM policies of one workload must have one provider, and these have opa, x');
  const match = several?.find(at('/a'));
  t.equal(match?.provider, undefined);
  t.equal(match?.id, 'istio-ext-authz-x-ns[shop]-policy[a]-rule[0]-deny-due-to-bad-CUSTOM-action');
  t.equal(several?.find(at('/c')), undefined, 'the rest passes');
  const missing = compileCustom([policy('CUSTOM', 'a', ['/a'], { provider: 'x' })], () => false);
  t.equal(missing?.problem, 'there is no extension provider "x"');
  t.match(missing?.find(at('/a')), { rule: { rule: 0 } });
});

t.test('the tree of prefixes finds all that a text begins with', async (t) => {
  const prefixes = ['', '/', '/a', '/ab/', '/ab/c', '/b', '/ac', 'x'];
  const tree = prefixTree(prefixes.map((prefix) => [prefix, prefix] as const));
  const found = (text: string): readonly string[] => {
    const values: string[] = [];
    let node: PrefixTree<string> | undefined = tree;
    for (let at = 0; node !== undefined && text.startsWith(node.label, at); ) {
      if (node.value !== undefined) values.push(node.value);
      at += node.label.length;
      node = node.children.get(text.charCodeAt(at));
    }
    return values;
  };
  for (const text of ['', '/', '/a', '/ab', '/ab/cd', '/abc', '/b/', 'xy', 'y']) {
    t.same(
      found(text),
      prefixes.filter((prefix) => text.startsWith(prefix)),
      text,
    );
  }
});

t.test('an audit names the caller by certificate and token, and says nothing else of the token', async (t) => {
  const audits: AuthorizationAudit[] = [];
  const { audited } = reportAuthorization(silentLogger, (audit) => audits.push(audit));
  const peer = { spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', trustDomain: 'cluster.local' };
  const { decide } = compileAuthorizer([policy('AUDIT', 'watch', 'all')]);
  const observer: AuthorizationObserver = { audited, shadowed: () => t.fail('nothing is tried out') };
  decide(at('/x', { peer, claims: { iss: 'https://idp', sub: 'bob', email: 'bob@example.com' } }), observer);
  const base = { policy: 'shop/watch', rule: 0, method: 'GET', path: '/x', host: 'web', allowed: true, detail: '' };
  t.same(audits, [{ ...base, peer: peer.spiffeId, requestPrincipal: 'https://idp/bob' }]);
});

t.test('a mesh tells of audits and dry runs: event, log, statistics', async (t) => {
  const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n';
  const mesh = await shopMesh({
    yaml: [
      `${head}metadata: {name: watch, namespace: shop}\nspec: {action: AUDIT, rules: [{to: [{operation: {paths: [/pay]}}]}]}`,
      `${head}metadata: {name: soon, namespace: shop, annotations: {istio.io/dry-run: "true"}}\nspec: {action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}`,
      `${head}metadata: {name: no-put, namespace: shop}\nspec: {action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}`,
    ].join('\n---\n'),
  });
  t.teardown(() => mesh.close());
  const audits: AuthorizationAudit[] = [];
  mesh.on('authorization-audit', (audit) => audits.push(audit));
  const server = await mesh.listen((_request, response) => void response.end('paid'), { port: 0, host: '127.0.0.1' });
  const ask = async (method: string, path: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${server.port}${path}`, { method })).text();
  t.equal(await ask('POST', '/pay?card=4111'), 'paid');
  t.equal(await ask('PUT', '/pay'), 'RBAC: access denied', 'the body says nothing of policies');
  const host = `127.0.0.1:${server.port}`;
  t.same(audits, [
    { policy: 'shop/watch', rule: 0, method: 'POST', path: '/pay', host, allowed: true, detail: '' },
    {
      policy: 'shop/watch',
      rule: 0,
      method: 'PUT',
      path: '/pay',
      host,
      allowed: false,
      detail: 'rbac_access_denied_matched_policy[ns[shop]-policy[no-put]-rule[0]]',
    },
  ]);
  t.match(
    mesh.stats().authorization.filter(({ dryRun }) => dryRun),
    [
      { policy: 'none', result: 'allowed', requests: 1 },
      { policy: 'shop/soon', action: 'DENY', result: 'denied', requests: 1 },
    ].reverse(),
  );
});

t.test('a rule that was compiled before is not compiled again, unless it is read in another way', async (t) => {
  let reads = 0;
  const rule: AuthorizationRule = {
    from: [],
    get to() {
      reads++;
      return [{ ports: [80] }];
    },
  };
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  const compileAs = (action: 'ALLOW' | 'DENY'): number => {
    const before = reads;
    compileAuthorizer([{ action, rules: [rule], provenance }]);
    return reads - before;
  };
  t.ok(compileAs('DENY') > 0);
  t.equal(compileAs('DENY'), 0);
  t.ok(compileAs('ALLOW') > 0);
  t.equal(compileAs('ALLOW'), 0);
});

t.test('a path that could be any finds its rules by their other sides', async (t) => {
  let asked = 0;
  const keys = (i: number) => ({
    path: { texts: [], paths: { exact: [`/p${i}`], prefixes: [] } },
    caller: {
      texts: [{ by: 'principal' as const, key: `spiffe://cluster.local/ns/a/sa/${i}` }],
      paths: { exact: [], prefixes: [] },
    },
  });
  const rules = Array.from({ length: 1_000 }, (_, i) => ({
    keys: keys(i),
    matches: ({ peer }: AuthorizationFacts) => {
      asked++;
      return peer?.spiffeId.endsWith(`/${i}`) === true;
    },
  }));
  const find = indexRules(rules, true);
  const path = `/${'%41'.repeat(1_000)}`;
  const of = (account: string) => at(path, { peer: parsedPeer(`spiffe://cluster.local/ns/a/sa/${account}`) });
  t.equal(find(of('7'), nothingDerived()), 7);
  t.equal(find(of('none'), nothingDerived()), -1);
  t.ok(asked < 10, `${asked} were asked`);
});

t.test('identities of other forms: what they name counts to refuse, alone and among many rules', async (t) => {
  const web = (prefix: string, behind = ''): string => `spiffe://cluster.local${prefix}/ns/shop/sa/web${behind}`;
  const named = ['/pod/7', '/x'].map((behind) => web('', behind));
  const around = [
    web('/env/prod'),
    'spiffe://cluster.local/ns/shop/pod/7/sa/web',
    'spiffe://evil.example/a/ns/shop/sa/web/b',
  ];
  const others = [
    'spiffe://cluster.local/shop/web',
    'spiffe://cluster.local/ns/shop',
    'spiffe://cluster.local/ns/shops/sa/web/x',
    'spiffe://cluster.local/sa/web/ns/ops/x',
    'spiffe://ns/shop/sa',
  ];
  const sources: readonly AuthorizationSource[] = [{ namespaces: [exact('shop')] }, { serviceAccounts: ['shop/web'] }];
  const many = Array.from({ length: 50 }, (_, i) => ({ from: [{ namespaces: [exact(`n${i}`)] }], to: [] }));
  for (const source of sources) {
    const [field, list] = Object.entries(source)[0] as [string, never];
    const negated = { [`not${field.charAt(0).toUpperCase()}${field.slice(1)}`]: list };
    for (const rules of [[], many]) {
      const decide = (action: 'ALLOW' | 'DENY', from: AuthorizationSource, id: string): boolean =>
        compileAuthorizer([policy(action, 'p', [], { rules: [...rules, { from: [from], to: [] }] })]).decide(
          at('/', { peer: parsedPeer(id) }),
        ).allowed;
      for (const id of [...named, ...around]) {
        t.notOk(decide('DENY', source, id), `${field} refuses ${id}`);
        t.notOk(decide('ALLOW', source, id), `${field} does not allow ${id}`);
        t.notOk(decide('ALLOW', negated, id), `not ${field} does not allow ${id}`);
        t.notOk(decide('DENY', negated, id), `not ${field} refuses ${id}`);
      }
      for (const id of others) {
        t.ok(decide('DENY', source, id), `${field} spares ${id}`);
        t.ok(decide('ALLOW', negated, id), `not ${field} allows ${id}`);
      }
    }
  }
});
