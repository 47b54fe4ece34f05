/** AuthorizationPolicies with so many rules in all, the last of which allows `GET /hello`. */
export function manyRules(count: number): readonly object[] {
  const rules = Array.from({ length: count - 1 }, (_, i) => rule(i));
  const last = { to: [{ operation: { methods: ['GET'], paths: ['/hello'] } }] };
  const deny = rules.filter((_, i) => i % 4 >= 2);
  const allow = rules.filter((_, i) => i % 4 < 2);
  return [...(deny.length === 0 ? [] : [policy('deny', 'DENY', deny)]), policy('allow', 'ALLOW', [...allow, last])];
}

function policy(name: string, action: string, rules: readonly object[]): object {
  const [apiVersion, kind] = ['security.istio.io/v1', 'AuthorizationPolicy'];
  return { apiVersion, kind, metadata: { name, namespace: 'bench' }, spec: { action, rules } };
}

/** A few kinds in turn: of one caller, of a path below another, of methods of a path, of a namespace. */
function rule(i: number): object {
  const principals = [`cluster.local/ns/ns-${i % 100}/sa/caller-${i}`];
  switch (i % 4) {
    case 0:
      return { from: [{ source: { principals } }], to: [{ operation: { methods: ['GET', 'POST'] } }] };
    case 1:
      return { to: [{ operation: { methods: ['GET'], paths: [`/team-${i % 50}/service-${i}/*`] } }] };
    case 2:
      return { from: [{ source: { notPrincipals: principals } }], to: [{ operation: { paths: [`/own/${i}`] } }] };
    default:
      return {
        from: [{ source: { namespaces: [`ns-${i}`] } }],
        to: [{ operation: { methods: ['DELETE'], paths: [`/records/${i}*`] } }],
      };
  }
}
