import { MeshError } from '../errors.ts';
import { type FailureKind, failureKind } from '../lib/failure-kind.ts';
import type { ClientCall } from './client-call.ts';

/** For hosts outside of the mesh, whose errors stay what undici reports. */
const flags: Readonly<Record<FailureKind, string>> = {
  connect: 'UF',
  tls: 'UF',
  reset: 'UC',
  protocol: 'UPE',
  timeout: 'UT',
};

/** Envoy's response flag for the error that a call has ended with. */
export function failureFlag(error: Error, call: ClientCall): string {
  // The application went away, or what it asked for could not be sent: Envoy's "downstream
  // connection termination".
  return call.cancelled ? 'DC' : flagOf(error);
}

/** The same where nobody knows who stopped it: what is no failure of a server was the application's doing. */
export function flagOf(error: Error): string {
  if (error instanceof MeshError) return error.flag;
  const kind = failureKind(error);
  return kind === undefined ? 'DC' : flags[kind];
}
