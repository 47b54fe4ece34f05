import {
  type Credentials,
  createCsr,
  type IdentitySink,
  type IdentitySource,
  MeshError,
  parseSpiffeId,
  waitFor,
} from 'inmesh/identity';
import { credentialsOfIssued, type Issued, issuedOf } from './answer.ts';
import { CallFailure, type CertificateCall, createCertificate } from './call.ts';
import { FileTrouble, readRoots, readToken, subjectOf } from './files.ts';
import { type FurtherRoots, furtherRoots } from './further-roots.ts';
import { makeKey } from './keys.ts';
import { type IstiodSettings, type IstiodSourceOptions, resolveSettings } from './options.ts';

/** istio-agent tries five times, after 100, 200, 400 and 800 ms; then the next request is up to its caller. */
const tries = 5;
const firstBackoffMs = 100;
const backoffJitter = 0.1;
const maxBackoffMs = 60_000;
/** How often files with further roots are looked at. */
const lookMs = 10_000;

interface Held {
  readonly issued: Issued;
  readonly credentials: Credentials;
  /** By the wall clock. */
  readonly renewAt: number;
}

/**
 * Certificates from istiod itself, as istio-agent asks for them (`CreateCertificate`), with neither
 * an agent nor a sidecar: makes a key, sends a certificate request with the pod's projected token,
 * checks what comes back against who this process must be, and does so again with a new key when
 * half of the certificate's life is over, give or take a hundredth. The roots of the mesh are those
 * at the end of the answer.
 *
 * Root and token are read anew for every try, on a connection of its own. When istiod cannot be
 * reached there are five tries within two seconds before it is reported, then one after ever longer
 * pauses, a minute at most. A process whose token file is gone renews with the certificate that it
 * has.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options or variables that can never work
 *
 * @example
 * const mesh = createMesh({ identity: istiodSource() });
 */
export function istiodSource(options: IstiodSourceOptions = {}): IdentitySource {
  const settings = resolveSettings(options);
  const { clock, random } = settings;

  const run = async (sink: IdentitySink, signal: AbortSignal): Promise<void> => {
    const further = furtherRoots(settings.extraRoots);
    let held: Held | undefined;
    let failures = 0;
    /** Whether the sink was told of trouble with further roots, and not yet that it is over. */
    let troubled = false;

    const renew = async (): Promise<void> => {
      try {
        const { problem, roots } = await further.read();
        const next = await ask(settings, usable(held?.credentials, clock.wallNow()), roots, signal);
        if (signal.aborted) return;
        held = next;
        failures = 0;
        sink.update(next.credentials);
        troubled = problem !== undefined;
        if (problem !== undefined) sink.reject(problem);
      } catch (error) {
        if (signal.aborted) return;
        const problem = error instanceof Error ? error : new Error(String(error));
        const transient = problem instanceof FileTrouble || (problem instanceof CallFailure && problem.transient);
        failures++;
        if (!transient) {
          sink.reject(problem);
          // A no will hardly become a yes within the second.
          failures = Math.max(failures, tries);
        } else if (failures >= tries) {
          sink.lost(problem);
        }
        await waitFor(clock, pause(failures, held?.credentials), signal);
      }
    };
    const pause = (count: number, credentials: Credentials | undefined): number => {
      const left = (credentials?.notAfter ?? 0) - clock.wallNow();
      // With a certificate a tenth of what is left of it is the most, so that there are several tries before its end.
      const most = Math.max(firstBackoffMs, Math.min(maxBackoffMs, left > 0 ? left / 10 : maxBackoffMs / 10));
      const backoff = Math.min(most, firstBackoffMs * 2 ** Math.min(count - 1, 20));
      return backoff * (1 + backoffJitter * (2 * random() - 1));
    };
    /** Waits until it is time to renew, with an eye on further roots. */
    const rest = async (from: Held): Promise<void> => {
      const left = from.renewAt - clock.wallNow();
      const looks = Object.keys(settings.extraRoots).length > 0;
      // Looked at every so often in any case: a machine that slept has a wall clock that jumped.
      await waitFor(clock, Math.max(0, Math.min(left, looks ? lookMs : 3_600_000)), signal);
      if (signal.aborted || !looks || clock.wallNow() >= from.renewAt) return;
      try {
        const { problem, roots } = await further.read();
        if (problem !== undefined) throw problem;
        const credentials = credentialsOfIssued(from.issued, from.credentials.spiffeId, roots, clock.wallNow());
        if (signal.aborted || (!troubled && sameRoots(credentials, from.credentials))) return;
        held = { ...from, credentials };
        troubled = false;
        sink.update(credentials);
      } catch (error) {
        if (signal.aborted) return;
        troubled = true;
        sink.reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    while (!signal.aborted) {
      if (held === undefined || clock.wallNow() >= held.renewAt) await renew();
      else await rest(held);
    }
  };
  return { name: `istiod:${settings.address}`, run };
}

/** One try, from reading the files to checking the answer. */
async function ask(
  settings: IstiodSettings,
  held: Credentials | undefined,
  extraRoots: FurtherRoots,
  signal: AbortSignal,
): Promise<Held> {
  const { address, clock, random, serverName, trustRoot } = settings;
  const roots = await readRoots(trustRoot, `the root of ${serverName}`);
  const proof = await proofOf(settings, held);
  const spiffeId = expected(settings, proof);
  const key = await makeKey(settings.keyType);
  const elements = await createCertificate({ ...settings, roots, csrPem: createCsr(spiffeId, key), proof, signal });
  const createdAt = clock.wallNow();
  try {
    const issued = issuedOf(elements, key.export({ type: 'pkcs8', format: 'pem' }).toString());
    const credentials = credentialsOfIssued(issued, spiffeId, extraRoots, clock.wallNow());
    // As istio-agent reckons: of the life that was left when it arrived.
    const share = settings.graceRatio + settings.graceRatioJitter * (2 * random() - 1);
    const grace = Math.min(1, Math.max(0, share)) * (credentials.notAfter - createdAt);
    // A ratio close to 1 must not become a request that never rests.
    const renewAt = Math.max(credentials.notAfter - grace, createdAt + 1_000);
    return { issued, credentials, renewAt };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_MESH_NO_IDENTITY', `the answer of ${address} cannot be used: ${reason}`, { cause });
  }
}

/** The token; without one (on a machine that was started again, say) the certificate that is held. */
async function proofOf(
  { tokenFile }: IstiodSettings,
  held: Credentials | undefined,
): Promise<CertificateCall['proof']> {
  try {
    return { token: await readToken(tokenFile) };
  } catch (error) {
    if (held !== undefined) return { held };
    throw error;
  }
}

function usable(held: Credentials | undefined, now: number): Credentials | undefined {
  return held !== undefined && now < held.notAfter ? held : undefined;
}

/** @throws MeshError `ERR_MESH_NO_IDENTITY` when nothing says who this process is */
function expected(settings: IstiodSettings, proof: CertificateCall['proof']): string {
  if (settings.spiffeId !== undefined) return settings.spiffeId;
  if ('held' in proof) return proof.held.spiffeId;
  const subject = subjectOf(proof.token);
  const namespace = settings.namespace ?? subject?.namespace;
  const serviceAccount = settings.serviceAccount ?? subject?.serviceAccount;
  if (namespace === undefined || serviceAccount === undefined) {
    const reason = 'set POD_NAMESPACE and SERVICE_ACCOUNT, or the option spiffeId: the token does not say who this is';
    throw new MeshError('ERR_MESH_NO_IDENTITY', reason);
  }
  return parseSpiffeId(`spiffe://${settings.trustDomain}/ns/${namespace}/sa/${serviceAccount}`).uri;
}

function sameRoots({ trustBundles: a }: Credentials, { trustBundles: b }: Credentials): boolean {
  return JSON.stringify([...a]) === JSON.stringify([...b]);
}
