import { hopByHop } from '../lib/hop-by-hop.ts';
import type { AuthorizationCondition } from '../model/authorization.ts';
import {
  each,
  ipBlock,
  portNumber,
  principalMatches,
  type ReadText,
  type RuleContext,
  serviceAccount,
  stringMatch,
  type Texts,
  trustDomainMatches,
} from './authorization-texts.ts';
import type { Path } from './document.ts';

/** One entry of `when`. */
export interface WhenSpec {
  readonly key: string;
  readonly values?: Texts;
  readonly notValues?: Texts;
}

/** Nothing for a key that the validation, or this, refuses. */
export function compileWhen(spec: WhenSpec, context: RuleContext, path: Path): AuthorizationCondition | undefined {
  const { key } = spec;
  const read = <T>(text: ReadText<T>): Values<T> => ({
    ...each('values', spec.values, text, context, path),
    ...each('notValues', spec.notValues, text, context, path),
  });
  switch (key) {
    case 'source.ip': {
      const { values, notValues } = read(ipBlock);
      return { attribute: 'source', source: { ...set('ipBlocks', values), ...set('notIpBlocks', notValues) } };
    }
    case 'remote.ip': {
      const { values, notValues } = read(ipBlock);
      const source = { ...set('remoteIpBlocks', values), ...set('notRemoteIpBlocks', notValues) };
      return { attribute: 'source', source };
    }
    case 'source.namespace': {
      const { values, notValues } = read(stringMatch);
      return { attribute: 'source', source: { ...set('namespaces', values), ...set('notNamespaces', notValues) } };
    }
    case 'source.principal': {
      const { values, notValues } = read(principalMatches);
      const source = { ...set('principals', values?.flat()), ...set('notPrincipals', notValues?.flat()) };
      return { attribute: 'source', source };
    }
    case 'source.serviceAccount': {
      const { values, notValues } = read(serviceAccount);
      const source = { ...set('serviceAccounts', values), ...set('notServiceAccounts', notValues) };
      return { attribute: 'source', source };
    }
    case 'source.trustDomain': {
      const values = each('values', spec.values, trustDomainMatches(false), context, path).values;
      const notValues = each('notValues', spec.notValues, trustDomainMatches(true), context, path).notValues;
      const source = { ...set('trustDomains', values?.flat()), ...set('notTrustDomains', notValues?.flat()) };
      return { attribute: 'source', source };
    }
    case 'request.auth.principal': {
      const { values, notValues } = read(stringMatch);
      const source = { ...set('requestPrincipals', values), ...set('notRequestPrincipals', notValues) };
      return { attribute: 'source', source };
    }
    case 'request.auth.audiences':
      return { attribute: 'claim', path: ['aud'], ...read(stringMatch) };
    case 'request.auth.presenter':
      return { attribute: 'claim', path: ['azp'], ...read(stringMatch) };
    case 'destination.ip':
      return { attribute: 'destinationIp', ...read(ipBlock) };
    case 'destination.port': {
      const { values, notValues } = read(portNumber);
      return { attribute: 'operation', operation: { ...set('ports', values), ...set('notPorts', notValues) } };
    }
    case 'connection.sni':
      return { attribute: 'sni', ...read(stringMatch) };
    default:
      return compileNamed(key, read(stringMatch), context, path);
  }
}

type Values<T> = { readonly values?: readonly T[]; readonly notValues?: readonly T[] };

/** Keys with a name in brackets. */
function compileNamed(
  key: string,
  values: Values<ReturnType<typeof stringMatch>>,
  { collector, resource }: RuleContext,
  path: Path,
): AuthorizationCondition | undefined {
  const at = [...path, 'key'];
  if (key.startsWith('experimental.')) {
    collector.refuse(resource, at, 'is refused: it asks for what filters of Envoy say, and there are none', key);
    return undefined;
  }
  const header = bracketed(key, 'request.headers');
  if (header !== undefined) {
    const name = header.toLowerCase();
    const wrong = wrongHeader(name, 'to.operation.paths');
    if (wrong !== undefined) collector.refuse(resource, at, wrong, key);
    if (hopByHop.has(name)) {
      collector.warn(resource, at, 'enforced', 'concerns the connection alone: as behind a proxy it is never there');
    }
    return { attribute: 'header', name, ...values };
  }
  const claim = bracketed(key, 'request.auth.claims');
  if (claim !== undefined) return { attribute: 'claim', path: namesIn(claim), ...values };
  // A key that Istio's own rules refuse has been told of.
  if (key.startsWith('request.headers') || key.startsWith('request.auth.claims')) {
    collector.refuse(resource, at, 'must go on with a name in brackets, as request.headers[x-user]', key);
  }
  return undefined;
}

/** What is wrong with asking for this header, its name in lower case; nothing when nothing is. */
export function wrongHeader(name: string, forPaths: string): string | undefined {
  if (name === ':method' || name === ':authority') return undefined;
  if (name === ':path') return `is refused: it is blind to the other ways to write a path; use ${forPaths}`;
  if (name.startsWith(':')) return 'is refused: of the names with a colon only :method and :authority can be asked for';
  if (!/^[-!#$%&'*+.^_`|~0-9a-z]+$/.test(name)) return 'must have the name of a header';
  return undefined;
}

/** `x` of `<start>[x]`. */
function bracketed(key: string, start: string): string | undefined {
  if (!key.startsWith(`${start}[`) || !key.endsWith(']')) return undefined;
  return key.slice(start.length + 1, -1);
}

/** `a][b` are two names, one inside the other; whatever else has brackets is one name, as in Istio. */
function namesIn(inner: string): readonly string[] {
  const names = inner.split('][');
  return names.some((name) => /[[\]]/.test(name)) ? [inner] : names;
}

function set<K extends string, T>(name: K, list: readonly T[] | undefined): Partial<Readonly<Record<K, readonly T[]>>> {
  const result: Partial<Record<K, readonly T[]>> = {};
  if (list !== undefined) result[name] = list;
  return result;
}
