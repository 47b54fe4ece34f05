import { type Authorize, compileAuthorization } from '../../../src/authz/decide.ts';
import { compile } from '../../../src/config/compile.ts';
import { parseYaml } from '../../../src/config/yaml.ts';
import { shopWeb } from '../inbound.ts';
import { areas, everything } from './areas.ts';

/** A policy, and the areas that nobody may reach whom it lets through. */
export interface Guard {
  readonly name: string;
  readonly guarded: number;
  readonly authorize: Authorize;
}

const { admin, belowAdmin, atAdmin, adminOfTenant, public: open, belowPublic, adminOfPublic } = areas;
const inPublic = open | belowPublic | adminOfPublic;
/** No path into these ends with `/public`. */
const notCalledPublic = admin | adminOfTenant | adminOfPublic;

/** Each field of a policy that names paths, in both directions. */
const policies: readonly (readonly [action: 'ALLOW' | 'DENY', operation: string, guarded: number])[] = [
  ['DENY', 'paths: ["/admin"]', admin],
  ['DENY', 'paths: ["/admin/*"]', belowAdmin],
  ['DENY', 'paths: ["/admin", "/admin/*"]', admin | belowAdmin | atAdmin],
  ['DENY', 'paths: ["/admin*"]', admin | belowAdmin | atAdmin],
  ['DENY', 'paths: ["*/admin"]', admin | adminOfTenant | adminOfPublic],
  ['DENY', 'notPaths: ["/public", "/public/*"]', everything & ~inPublic],
  ['DENY', 'notPaths: ["/public"]', everything & ~open],
  ['DENY', 'notPaths: ["*/public"]', notCalledPublic],
  ['ALLOW', 'notPaths: ["/admin", "/admin/*"]', admin | belowAdmin | atAdmin],
  ['ALLOW', 'notPaths: ["*/admin"]', admin | adminOfTenant | adminOfPublic],
  ['ALLOW', 'paths: ["/public", "/public/*"]', everything & ~inPublic],
  ['ALLOW', 'paths: ["/public/*"]', everything & ~inPublic],
  ['ALLOW', 'paths: ["/public"]', everything & ~open],
  ['ALLOW', 'paths: ["*/public"]', notCalledPublic],
  ['DENY', 'paths: ["/admin/{**}"]', belowAdmin],
  ['DENY', 'paths: ["/admin/{*}", "/admin/{*}/{**}"]', belowAdmin],
  ['DENY', 'paths: ["/{*}/admin"]', adminOfTenant | adminOfPublic],
  ['DENY', 'paths: ["/{**}/admin"]', adminOfTenant | adminOfPublic],
  ['DENY', 'notPaths: ["/public/{**}"]', everything & ~inPublic],
  ['ALLOW', 'notPaths: ["/admin", "/admin/{**}"]', admin | belowAdmin | atAdmin],
  ['ALLOW', 'paths: ["/public/{*}"]', everything & ~inPublic],
  ['ALLOW', 'paths: ["/public/{**}"]', everything & ~inPublic],
  ['ALLOW', 'paths: ["/{*}/public"]', notCalledPublic | open],
];

/** Rules about other paths, so many that rules are found by an index. */
const crowd = Array.from(
  { length: 12 },
  (_, i) => `, { to: [{ operation: { paths: ["/other/${i}", "/more-${i}/*"] } }] }`,
);

/**
 * A policy with one operation, compiled from YAML as in production.
 *
 * @param paths `literal`: read as Istio does
 * @param others further rules, each after a comma
 */
export function guard(
  action: 'ALLOW' | 'DENY',
  operation: string,
  paths: 'views' | 'literal' = 'views',
  guarded = 0,
  others = '',
): Guard {
  const name = `${action} ${operation}${others === '' ? '' : ', among others'}`;
  const yaml = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: guard, namespace: shop }
spec: { action: ${action}, rules: [{ to: [{ operation: { ${operation} } }] }${others}] }`;
  const { documents } = parseYaml(yaml);
  const made = compile(documents, { workload: shopWeb });
  if (!made.ok) throw new Error(`${name}: ${JSON.stringify(made)}`);
  return { name, guarded, authorize: compileAuthorization(made.snapshot.inbound.authorization, { paths }) };
}

/** All policies: each by itself, and among many rules. */
export function guards(paths: 'views' | 'literal' = 'views'): readonly Guard[] {
  return ['', crowd.join('')].flatMap((others) =>
    policies.map(([action, operation, guarded]) => guard(action, operation, paths, guarded, others)),
  );
}
