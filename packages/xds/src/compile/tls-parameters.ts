import { readCipherSuites, readCurves, type TlsParameters, type TlsVersion } from 'inmesh/model';
import type { TlsParameters as Message, TlsParametersTlsProtocol } from '../proto/envoy/tls-validation.ts';

/** What is wrong with parameters of TLS. */
export interface ParameterProblem {
  /** Path from the parameters on. */
  readonly field: string;
  readonly message: string;
  readonly value: unknown;
}

type Version = TlsParametersTlsProtocol | number;
const oldVersions: ReadonlySet<Version> = new Set<Version>(['TLSv1_0', 'TLSv1_1']);

/**
 * Envoy's `TlsParameters`, nothing where they say nothing but what is so anyway. Older versions than TLS 1.2 are not
 * spoken: as the lowest one they mean that. Throws a {@link ParameterProblem} through `refuse`.
 *
 * @param inMesh suites without forward secrecy or authenticated encryption are left out
 */
export function tlsParametersOf(
  message: Message | undefined,
  inMesh: boolean,
  refuse: (problem: ParameterProblem) => Error,
): TlsParameters | undefined {
  if (message === undefined) return undefined;
  const { tls_maximum_protocol_version: highest, tls_minimum_protocol_version: lowest } = message;
  for (const [field, value] of [
    ['tls_minimum_protocol_version', lowest],
    ['tls_maximum_protocol_version', highest],
  ] as const) {
    if (typeof value === 'number') throw refuse({ field, message: 'expected a version of TLS that is known', value });
  }
  if (oldVersions.has(highest)) {
    throw refuse({ field: 'tls_maximum_protocol_version', message: 'expected at least TLSv1_2', value: highest });
  }
  if (lowest === 'TLSv1_3' && highest === 'TLSv1_2') {
    const problem = 'expected at least the lowest version, TLSv1_3';
    throw refuse({ field: 'tls_maximum_protocol_version', message: problem, value: highest });
  }
  const words = (field: 'cipher_suites' | 'ecdh_curves'): readonly string[] => {
    const read = field === 'ecdh_curves' ? readCurves(message[field]) : readCipherSuites(message[field], inMesh);
    if (read.problem === undefined) return read.words;
    throw refuse({ field: `${field}[${read.index}]`, message: read.problem, value: read.value });
  };
  const cipherSuites = words('cipher_suites');
  const curves = words('ecdh_curves');
  const minVersion: TlsVersion | undefined = lowest === 'TLSv1_3' ? 'TLSv1.3' : undefined;
  const maxVersion: TlsVersion | undefined = highest === 'TLSv1_2' ? 'TLSv1.2' : undefined;
  if (minVersion === undefined && maxVersion === undefined && cipherSuites.length + curves.length === 0) {
    return undefined;
  }
  return {
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(cipherSuites.length === 0 ? {} : { cipherSuites }),
    ...(curves.length === 0 ? {} : { curves }),
  };
}
