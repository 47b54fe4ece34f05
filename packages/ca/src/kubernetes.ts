import { type Clock, parseSpiffeId } from 'inmesh/identity';
import { compactVerify, errors } from 'jose';
import type { Attestor } from './attest.ts';
import type { Attestation } from './authority-types.ts';
import { type JwtParts, readJwt } from './jwt-form.ts';
import { type KeySet, type KeySetOptions, keySet } from './key-set.ts';
import { invalid } from './options.ts';
import { refusal } from './refusal.ts';

/**
 * A Kubernetes cluster whose service accounts may have certificates: by the projected tokens that
 * its API server signs. Without `jwksFile` and `jwksUrl` the keys are found by OpenID Connect
 * Discovery at the issuer.
 */
export interface KubernetesCluster extends KeySetOptions {
  /** Name for the log; a caller that says in which cluster it is (Istio's `clusterid`) must say this one. */
  readonly cluster: string;
  /** One of these must be in the token's `aud`. Default `istio-ca`, which is Istio's. */
  readonly audiences?: readonly string[];
  /**
   * The namespaces whose service accounts may have certificates, as a list; or with the namespace
   * that stands in the SPIFFE ID, as an object: `{ "shop": "shop-east" }`. Default: all, as they are.
   */
  readonly namespaces?: readonly string[] | Readonly<Record<string, string>>;
  /** Accepted signatures. Default RS256, ES256, ES384, ES512: what API servers sign with. */
  readonly algorithms?: readonly SignatureAlgorithm[];
}

const knownAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'] as const;
/** Signatures by a private key; no other kind proves anything. */
export type SignatureAlgorithm = (typeof knownAlgorithms)[number];

const defaultAlgorithms: readonly SignatureAlgorithm[] = ['RS256', 'ES256', 'ES384', 'ES512'];
/** Clocks differ: how far in the future a token may begin. When it ends, it has ended. */
const leewayMs = 60_000;
const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const subdomain = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

/** The clusters after their options were checked. */
interface Cluster {
  readonly options: KubernetesCluster;
  readonly keys: KeySet;
  readonly audiences: readonly string[];
  readonly algorithms: readonly string[];
}

/**
 * Attests service accounts of Kubernetes: `spiffe://<trust domain>/ns/<namespace>/sa/<name>`, as
 * istiod names them. The cluster is the one whose issuer the token names; of several with one
 * issuer (many clusters have the same) the one whose key signed it.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function kubernetesAttestor(
  clusters: readonly KubernetesCluster[],
  trustDomain: string,
  clock: Clock,
): Attestor {
  const known = clusters.map((options) => checked(options, clock));
  return {
    name: `kubernetes ${clusters.map(({ cluster }) => cluster).join(', ')}`,
    attest: async ({ clusterId, token }) => {
      // Three parts, the first of which is a JSON object: everything else is of another kind.
      if (token?.startsWith('eyJ') !== true) return undefined;
      const parts = formOf(token);
      const { iss } = parts.claims;
      const candidates = known.filter(
        ({ options }) => options.issuer === iss && (clusterId === undefined || clusterId === options.cluster),
      );
      if (candidates.length === 0) {
        const where = clusterId === undefined ? '' : ` in a cluster ${shown(clusterId)}`;
        throw bad(`no cluster is known whose issuer is ${shown(iss)}${where}`);
      }
      let problem: unknown;
      for (const cluster of candidates) {
        try {
          return await attestBy(cluster, token, parts, trustDomain, clock);
        } catch (error) {
          // A cluster that verified the signature has the last word; one that is out of reach matters more than a no.
          if (!(error instanceof UnverifiedError)) throw error;
          if (problem === undefined || error.unreachable) problem = error.refusal;
        }
      }
      throw problem;
    },
  };
}

/** The signature was not verified: another cluster with the same issuer may know the key, or accept its audience. */
class UnverifiedError extends Error {
  readonly refusal: Error;
  readonly unreachable: boolean;

  constructor(problem: Error, unreachable: boolean) {
    super(problem.message);
    this.refusal = problem;
    this.unreachable = unreachable;
  }
}

function formOf(token: string): JwtParts {
  try {
    return readJwt(token);
  } catch (error) {
    throw bad((error as Error).message);
  }
}

async function attestBy(
  { algorithms, audiences, keys, options }: Cluster,
  token: string,
  { claims, header }: JwtParts,
  trustDomain: string,
  clock: Clock,
): Promise<Attestation> {
  checkTimes(claims, clock.wallNow());
  try {
    checkHeader(header, algorithms);
    checkAudience(claims['aud'], audiences);
  } catch (problem) {
    throw new UnverifiedError(problem as Error, false);
  }
  try {
    await keys.use((key) => compactVerify(token, key, { algorithms: [...algorithms] }));
  } catch (cause) {
    if (cause instanceof errors.JOSEError) {
      throw new UnverifiedError(bad('no key of its issuer verifies its signature', cause), false);
    }
    const reason = `the keys of cluster ${options.cluster} cannot be had: ${(cause as Error).message}`;
    throw new UnverifiedError(refusal('unavailable', reason, cause), true);
  }
  const { name, namespace } = accountOf(claims);
  const mapped = mappedNamespace(options, namespace);
  return {
    spiffeId: parseSpiffeId(`spiffe://${trustDomain}/ns/${mapped}/sa/${name}`).uri,
    by: `kubernetes ${options.cluster}`,
  };
}

function checkHeader({ alg, typ, crit, b64 }: JwtParts['header'], algorithms: readonly string[]): void {
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    throw bad(`its algorithm is ${shown(alg)}, accepted are ${algorithms.join(', ')}`);
  }
  // RFC 8725 3.11: a token that says it is something else is something else.
  if (typ !== undefined && !(typeof typ === 'string' && /^(application\/)?jwt$/i.test(typ))) {
    throw bad(`its type is ${shown(typ)}, expected is JWT`);
  }
  if (crit !== undefined || b64 !== undefined) throw bad('it has extensions (crit, b64) that are not known');
}

function checkTimes({ exp, iat, nbf }: JwtParts['claims'], now: number): void {
  if (!isTime(exp)) throw bad(`its exp is ${shown(exp)}, expected is a time`);
  if (now >= exp * 1_000) throw bad(`it expired at ${new Date(exp * 1_000).toISOString()}`);
  for (const [name, value] of [['nbf', nbf] as const, ['iat', iat] as const]) {
    if (value === undefined) continue;
    if (!isTime(value)) throw bad(`its ${name} is ${shown(value)}, expected is a time`);
    if (now + leewayMs < value * 1_000)
      throw bad(`its ${name} is in the future: ${new Date(value * 1_000).toISOString()}`);
  }
}

/** Seconds since the epoch that are a date. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 253_402_300_799;
}

function checkAudience(aud: unknown, accepted: readonly string[]): void {
  const given: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (given.some((one) => typeof one !== 'string')) throw bad(`its aud is ${shown(aud)}, expected are names`);
  if (given.some((one) => accepted.includes(one as string))) return;
  throw bad(`its audience is ${shown(aud)}, expected is ${accepted.join(' or ')}`);
}

/** `sub` is `system:serviceaccount:<namespace>:<name>`; the claim `kubernetes.io`, if there is one, must agree. */
function accountOf(claims: JwtParts['claims']): { readonly namespace: string; readonly name: string } {
  const { sub } = claims;
  const [system, kind, namespace, name, ...more] = typeof sub === 'string' ? sub.split(':') : [];
  if (system !== 'system' || kind !== 'serviceaccount' || more.length > 0) {
    throw bad(`its sub is ${shown(sub)}, expected is that of a service account`);
  }
  if (namespace === undefined || name === undefined || !label.test(namespace) || !subdomain.test(name)) {
    throw bad(`its sub ${shown(sub)} names no service account of Kubernetes`);
  }
  const bound = claims['kubernetes.io'];
  if (bound !== undefined) {
    const inside = bound as {
      readonly namespace?: unknown;
      readonly serviceaccount?: { readonly name?: unknown };
    } | null;
    if (inside?.namespace !== namespace || inside.serviceaccount?.name !== name) {
      throw bad('its claims sub and kubernetes.io are of different service accounts');
    }
  }
  return { namespace, name };
}

function mappedNamespace({ cluster, namespaces }: KubernetesCluster, namespace: string): string {
  if (namespaces === undefined) return namespace;
  if (isList(namespaces)) {
    if (namespaces.includes(namespace)) return namespace;
  } else if (Object.hasOwn(namespaces, namespace)) return namespaces[namespace] ?? namespace;
  throw refusal('identity_mismatch', `namespace ${namespace} of cluster ${cluster} gets no certificates here`);
}

function isList(value: readonly string[] | Readonly<Record<string, string>>): value is readonly string[] {
  return Array.isArray(value);
}

function checked(options: KubernetesCluster, clock: Clock): Cluster {
  const { algorithms = defaultAlgorithms, audiences = ['istio-ca'], cluster, issuer, namespaces } = options;
  const at = `kubernetes ${cluster}`;
  if (typeof cluster !== 'string' || cluster === '') throw invalid('kubernetes', 'a cluster needs a name', cluster);
  if (typeof issuer !== 'string' || issuer === '')
    throw invalid(`${at}: issuer`, 'expected the iss of its tokens', issuer);
  if (audiences.length === 0 || audiences.some((audience) => typeof audience !== 'string' || audience === '')) {
    throw invalid(`${at}: audiences`, 'expected at least one name', audiences);
  }
  const unknown = algorithms.find((algorithm) => !knownAlgorithms.includes(algorithm));
  if (unknown !== undefined || algorithms.length === 0) {
    throw invalid(`${at}: algorithms`, `expected some of ${knownAlgorithms.join(', ')}`, algorithms);
  }
  const names = namespaces === undefined ? [] : isList(namespaces) ? namespaces : Object.entries(namespaces).flat();
  const wrong = names.find((name) => typeof name !== 'string' || !label.test(name));
  if (wrong !== undefined) throw invalid(`${at}: namespaces`, 'expected names of namespaces', wrong);
  if (options.jwksFile !== undefined && options.jwksUrl !== undefined) {
    throw invalid(`${at}: jwksFile and jwksUrl`, 'expected one of the two');
  }
  const url = options.jwksUrl ?? (options.jwksFile === undefined ? issuer : undefined);
  if (url !== undefined && !/^https:\/\/[^@/]+(\/|$)/.test(url)) {
    throw invalid(`${at}: ${options.jwksUrl === undefined ? 'issuer' : 'jwksUrl'}`, 'expected an https URL', url);
  }
  return { options, keys: keySet(options, clock), audiences, algorithms };
}

function bad(reason: string, cause?: unknown): Error {
  return refusal('token_invalid', `the token is refused: ${reason}`, cause);
}

/** What a stranger wrote, for a message: bounded, in one line. */
function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 200);
}
