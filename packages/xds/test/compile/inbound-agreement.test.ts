import type { AuthorizationPolicy, AuthorizationRule, RbacFilter } from 'inmesh/model';
import t from 'tap';
import { compileAuthorizer } from '../../../../src/authz/authorizer.ts';
import { compileCustom } from '../../../../src/authz/custom.ts';
import type { AuthorizationFacts } from '../../../../src/authz/facts.ts';
import { compileRbac, findRbacPolicy } from '../../../../src/authz/rbac.ts';
import {
  allPaths,
  type Chooser,
  chooser,
  randomFacts,
  randomPolicies,
} from '../../../../test/authz/random-policies.ts';
import { rbacRules } from '../../src/compile/inbound-rbac.ts';
import { rbacSchema } from '../../src/proto/envoy/rbac.ts';
import { type HttpRbac, httpRbacSchema } from '../../src/proto/envoy/rbac-filters.ts';
import { decode, encode, type Input } from '../../src/proto/schema.ts';
import { atOnce } from '../../src/turns.ts';
import { istioFilters, istioRules } from './istio-policies.ts';

const provenance = { kind: 'Listener', namespace: 'xds', name: 'virtualInbound' };
const context = { provenance, payload: 'payload' };
const place = { path: '', note: () => {} };

/** What the wire says, read as it would be. */
function read(filter: Input<HttpRbac>): RbacFilter {
  const { rules, shadow_rules: shadow } = decode(httpRbacSchema, encode(httpRbacSchema, filter));
  return {
    ...(rules && { rules: atOnce(rbacRules(rules, context, place)) }),
    ...(shadow && { shadow: atOnce(rbacRules(shadow, context, place)) }),
    provenance,
  };
}

/** What Istio's YAML can say: no regular expressions, no exceptions, nothing of Consul's. */
function asIstio(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asIstio);
  if (typeof value !== 'object' || value === null) return value;
  const given = value as Record<string, unknown>;
  if (given['kind'] === 'regex')
    return { kind: 'exact', value: String(given['value']).replaceAll('.*', '').replaceAll('\\', '') || 'x' };
  const { services, trustDomains, notTrustDomains, unless, ...kept } = given;
  return Object.fromEntries(Object.entries(kept).map(([key, inner]) => [key, asIstio(inner)]));
}

const facts = (choose: Chooser): AuthorizationFacts => randomFacts(choose, allPaths);

interface Told {
  readonly allowed: boolean;
  readonly reason: string;
  readonly detail: string;
  readonly by: string;
  readonly told: readonly string[];
}

function answer({ decide }: ReturnType<typeof compileAuthorizer>, about: AuthorizationFacts): Told {
  const told: string[] = [];
  const { allowed, detail, policy, reason, rule } = decide(about, {
    audited: (_, { id }) => void told.push(`audit ${id}`),
    shadowed: (_, { action, id, result }) => void told.push(`${action} ${result} ${id}`),
  });
  return { allowed, reason, detail, by: `${policy?.namespace}/${policy?.name} ${rule}`, told: told.sort() };
}

const seed = 20_261_122;

t.test(
  'policies decide the same when they come as istiod writes them for Envoy, told and tried out included',
  async (t) => {
    const outcomes = new Map<string, number>();
    for (let i = 0; i < 1_200; i++) {
      const choose = chooser(seed + i);
      const policies = asIstio(randomPolicies(choose)) as readonly AuthorizationPolicy[];
      const paths = choose.of(['views', 'literal'] as const);
      const own = compileAuthorizer(policies, { paths });
      const envoy = compileRbac(istioFilters(policies).map(read), { paths });
      for (let j = 0; j < 8; j++) {
        const about = facts(choose);
        const expected = answer(own, about);
        const found = answer(envoy, about);
        outcomes.set(expected.reason, (outcomes.get(expected.reason) ?? 0) + 1);
        if (JSON.stringify(found) === JSON.stringify(expected)) continue;
        t.same(found, expected, JSON.stringify({ seed: seed + i, paths, policies, about }));
        return;
      }
    }
    for (const reason of ['denied', 'not-allowed', 'allowed', 'not-denied']) {
      t.ok((outcomes.get(reason) ?? 0) > 300, `${reason}: ${outcomes.get(reason)} times`);
    }
  },
);

t.test('CUSTOM policies ask about the same requests when they come as shadow rules before ext_authz', async (t) => {
  let asked = 0;
  for (let i = 0; i < 400; i++) {
    const choose = chooser(seed - i);
    const policies = (asIstio(randomPolicies(choose)) as readonly AuthorizationPolicy[]).map(
      ({ rules, provenance: origin }): AuthorizationPolicy => ({
        action: 'CUSTOM',
        provider: 'opa',
        rules,
        provenance: origin,
      }),
    );
    const own = compileCustom(policies, () => true);
    const wire = encode(rbacSchema, { action: 'DENY', policies: istioRules(policies, 'istio-ext-authz-opa-') });
    const rules = atOnce(rbacRules(decode(rbacSchema, wire), context, place));
    const find = findRbacPolicy(rules.policies);
    for (let j = 0; j < 6; j++) {
      const about = facts(choose);
      const expected = own?.find(about);
      const found = find(about);
      if (expected !== undefined) asked++;
      if (found?.name === expected?.id && found?.rule === expected?.rule.rule) continue;
      t.equal(found?.name, expected?.id, JSON.stringify({ seed: seed - i, policies, about }));
      return;
    }
  }
  t.ok(asked > 300, `${asked} times`);
});

t.test('an ALLOW policy without rules lets nobody in, as it does in Istio', async (t) => {
  const policies: readonly AuthorizationPolicy[] = [
    {
      action: 'ALLOW',
      rules: [] as readonly AuthorizationRule[],
      provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'none' },
    },
  ];
  const { decide } = compileRbac(istioFilters(policies).map(read));
  t.match(decide(facts(chooser(1))), { allowed: false, reason: 'not-allowed' });
});
