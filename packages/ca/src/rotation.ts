import type { X509Certificate } from 'node:crypto';
import { readCertificate } from 'inmesh/identity';
import { issuerPartsOf } from './certificate-parts.ts';
import type { Holdings, Rotation } from './holdings.ts';
import { chainBelowRoot, crossSign, type Generation, type Root } from './material.ts';
import { refusal } from './refusal.ts';
import { signOnTrial } from './trial.ts';

/** Certificates that are valid still, as the issuance log knows them. */
export interface ValidCertificates {
  readonly count: number;
  /** When the last of them expires, milliseconds since the epoch. */
  readonly until: number;
}

const commands = { activate: 'inmesh ca rotate activate', finish: 'inmesh ca rotate finish' } as const;

/**
 * First step: the new root is handed out beside the old one, which goes on signing. The new root is
 * cross-signed by the old one when that is possible: its key is there, and it allows two
 * authorities below itself.
 */
export function prepare(
  holdings: Holdings,
  next: Generation,
  given: X509Certificate | undefined,
  { now, trustDomain }: { readonly now: number; readonly trustDomain: string },
): Holdings {
  const { current, rotation } = holdings;
  if (rotation !== undefined) {
    throw wrongOrder(`the root is being exchanged already (${describe(rotation)}): finish it or abort it first`);
  }
  if (next.root.certificate.publicKey.equals(current.root.certificate.publicKey)) {
    throw wrongOrder('the new root has the key of the old one: that is no exchange');
  }
  const cross = given ?? crossIfPossible(current.root, next.root.certificate, now);
  if (cross !== undefined) checkCross(cross, current.root.certificate, next.root.certificate);
  if (given !== undefined) tryCross(given, current.root.certificate, next, { now, trustDomain });
  return {
    ...holdings,
    rotation: { phase: 'prepared', next, preparedAt: now, ...(cross === undefined ? {} : { cross }) },
  };
}

function crossIfPossible(old: Root, next: X509Certificate, now: number): X509Certificate | undefined {
  const { pathLength } = readCertificate(old.certificate.raw);
  if (old.key === undefined || (pathLength !== undefined && pathLength < 2)) return undefined;
  return crossSign({ certificate: old.certificate, key: old.key }, next, now);
}

function checkCross(cross: X509Certificate, old: X509Certificate, next: X509Certificate): void {
  const fits =
    cross.checkIssued(old) &&
    cross.verify(old.publicKey) &&
    cross.publicKey.equals(next.publicKey) &&
    issuerPartsOf(cross).name.equals(issuerPartsOf(next).name);
  if (!fits) throw refusal('bad_request', 'the cross certificate is not that of the new root, signed by the old root');
}

/** Members that know the old root alone go by it: dates, path lengths and name constraints must let certificates through. */
function tryCross(
  cross: X509Certificate,
  old: X509Certificate,
  next: Generation,
  of: { readonly now: number; readonly trustDomain: string },
): void {
  const { intermediate } = next;
  try {
    signOnTrial({ ...of, signer: intermediate, chain: [...chainBelowRoot(next, intermediate), cross], root: old });
  } catch (cause) {
    throw refusal('bad_request', `the cross certificate is of no use: ${(cause as Error).message}`, cause);
  }
}

/** What {@link activate} goes by. */
export interface ActivateOptions {
  readonly now: number;
  /** After so long every member has asked for a new certificate, and with it for the new bundle. */
  readonly leafTtlMs: number;
  readonly force: boolean;
}

/** Second step: the new root signs. The old one stays in the bundle. */
export function activate(holdings: Holdings, { now, leafTtlMs, force }: ActivateOptions): Holdings {
  const { rotation } = holdings;
  if (rotation === undefined) throw wrongOrder('no new root is prepared: `inmesh ca rotate prepare` comes first');
  if (rotation.phase === 'active') {
    throw wrongOrder(`the new root signs already (${describe(rotation)}): \`${commands.finish}\` comes next`);
  }
  const ready = rotation.preparedAt + leafTtlMs;
  if (rotation.cross === undefined && now < ready && !force) {
    throw wrongOrder(
      `there is no cross certificate, so members that have not heard of the new root yet would refuse it; the last of them has by ${iso(ready)}`,
    );
  }
  return { ...holdings, rotation: { ...rotation, phase: 'active', activatedAt: now } };
}

/** Third step: the old root leaves the bundle, and its keys are removed. */
export function finish(holdings: Holdings, valid: ValidCertificates, force: boolean): Holdings {
  const { rotation, revocations } = holdings;
  if (rotation === undefined) throw wrongOrder('no new root is prepared: `inmesh ca rotate prepare` comes first');
  if (rotation.phase === 'prepared') {
    throw wrongOrder(`the old root still signs (${describe(rotation)}): \`${commands.activate}\` comes next`);
  }
  if (valid.count > 0 && !force) {
    throw wrongOrder(
      `${valid.count} certificates of the old root are valid until ${iso(valid.until)}; whoever has one would be shut out`,
    );
  }
  return { current: rotation.next, revocations };
}

/**
 * Takes one step back: the old root signs again; or, from `prepared`, the new root leaves the
 * bundle and its keys are removed.
 */
export function abort(holdings: Holdings, valid: ValidCertificates, force: boolean): Holdings {
  const { current, rotation, revocations } = holdings;
  if (rotation === undefined) throw wrongOrder('there is nothing to abort: no new root is prepared');
  if (rotation.phase === 'active') {
    const { activatedAt: _, ...rest } = rotation;
    return { ...holdings, rotation: { ...rest, phase: 'prepared' } };
  }
  if (valid.count > 0 && !force) {
    throw wrongOrder(
      `${valid.count} certificates of the new root are valid until ${iso(valid.until)}; whoever has one would be shut out`,
    );
  }
  return { current, revocations };
}

function describe({ phase, preparedAt, activatedAt }: Rotation): string {
  return phase === 'active' && activatedAt !== undefined
    ? `active since ${iso(activatedAt)}`
    : `prepared since ${iso(preparedAt)}`;
}

function wrongOrder(reason: string): Error {
  return refusal('conflict', reason);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
