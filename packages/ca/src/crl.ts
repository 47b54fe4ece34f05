import { sign, verify, type X509Certificate } from 'node:crypto';
import { readCertificate } from 'inmesh/identity';
import {
  bitString,
  context,
  type Element,
  encode,
  enumerated,
  extension,
  integer,
  pem,
  sequence,
  sequenceOf,
  time,
  whole,
} from './asn1.ts';
import { authorityKeyIdentifier } from './assemble.ts';
import { issuerPartsOf } from './certificate-parts.ts';
import { generationsOf, type Holdings } from './holdings.ts';
import { signatureAlgorithmOf } from './key-type.ts';
import { backdateMs, type Signer } from './material.ts';
import { refusal } from './refusal.ts';
import { type Revocations, type RevokedCertificate, revocationReasons } from './revocation.ts';

/**
 * How long a list is valid. It is replaced when half of that is over, so that a list never ends
 * before a certificate of whoever has it: those live for a day at most.
 */
export const crlLifeMs = 172_800_000;

const reasonCode = '2.5.29.21';
const crlNumber = '2.5.29.20';

/** What goes into one revocation list. */
export interface CrlPlan {
  readonly number: number;
  /** Milliseconds since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly entries: readonly Pick<RevokedCertificate, 'serial' | 'reason' | 'revokedAt'>[];
}

/**
 * A version 2 certificate revocation list (RFC 5280 5), PEM, with CRL number, authority key
 * identifier and reasons.
 */
export function assembleCrl(plan: CrlPlan, { certificate, key }: Signer): string {
  const { identifier, hash } = signatureAlgorithmOf(key);
  const issuer = issuerPartsOf(certificate);
  const tbs = sequence(
    whole(1),
    identifier,
    sequenceOf(issuer.name),
    time(plan.thisUpdate),
    time(plan.nextUpdate),
    // RFC 5280 5.1.2.6: absent when there are none.
    ...(plan.entries.length === 0 ? [] : [sequence(...plan.entries.map((each) => entry(each, plan.thisUpdate)))]),
    context(0, [sequence(authorityKeyIdentifier(issuer), extension(crlNumber, false, whole(plan.number)))]),
  );
  const text = encode(tbs);
  const signature = sign(hash, text, key);
  if (!verify(hash, text, certificate.publicKey, signature)) {
    throw refusal('internal', 'a revocation list does not verify');
  }
  return pem('X509 CRL', encode(sequence(tbs, identifier, bitString(0, signature))));
}

function entry({ serial, reason, revokedAt }: CrlPlan['entries'][number], thisUpdate: number): Element {
  const code = revocationReasons[reason];
  return sequence(
    integer(Buffer.from(serial, 'hex')),
    // A list speaks of its `thisUpdate`, which for the sake of other clocks is a little in the past.
    time(Math.min(revokedAt, thisUpdate)),
    // RFC 5280 5.3.1: absent rather than `unspecified`.
    ...(code === 0 ? [] : [sequence(extension(reasonCode, false, enumerated(code)))]),
  );
}

/** Whether it is time for new lists: there are none, or half of the life of the newest is over. */
export function crlsAreDue({ crls }: Revocations, now: number): boolean {
  return crls === undefined || now >= crls.thisUpdate + backdateMs + crlLifeMs / 2;
}

/** Lists nothing that expired more than this before, so that each is on one list after its expiry (RFC 5280 3.3). */
const keptMs = crlLifeMs;

/**
 * Holdings with new lists: one for each authority whose key is there, roots included, because
 * OpenSSL and Envoy ask for a list of every authority of a chain once they have any.
 */
export function publishCrls(holdings: Holdings, now: number): Holdings {
  const { revocations } = holdings;
  const certificates = revocations.certificates.filter(({ notAfter }) => now < notAfter + keptMs);
  const number = revocations.number + 1;
  const thisUpdate = now - backdateMs;
  const nextUpdate = now + crlLifeMs;
  const pems = crlSigners(holdings).map((signer) => {
    const issuer = issuerPartsOf(signer.certificate).keyId.toString('hex');
    const entries = certificates.filter((certificate) => certificate.issuer === issuer);
    return assembleCrl({ number, thisUpdate, nextUpdate, entries }, signer);
  });
  return {
    ...holdings,
    revocations: { ...revocations, number, certificates, crls: { thisUpdate, nextUpdate, pems } },
  };
}

function crlSigners(holdings: Holdings): readonly Signer[] {
  const signers = new Map<string, Signer>();
  const add = (signer: Signer): void => {
    // An authority that another one made may lack the right; whoever checks would refuse its list.
    if (mayPublish(signer.certificate)) signers.set(signer.certificate.fingerprint256, signer);
  };
  for (const { root, intermediate, previous } of generationsOf(holdings)) {
    add(intermediate);
    if (previous !== undefined) add(previous);
    if (root.key !== undefined) add({ certificate: root.certificate, key: root.key });
  }
  return [...signers.values()];
}

/** Whether an authority has the right to sign revocation lists (keyUsage cRLSign). */
export function mayPublish(certificate: X509Certificate): boolean {
  const { keyUsage } = readCertificate(certificate.raw);
  return keyUsage === undefined || keyUsage.crlSign;
}
