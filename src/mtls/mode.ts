import type { MtlsMode, MtlsPolicy } from '../model/inbound.ts';

/** The PeerAuthentication mode of one port that the workload listens on. */
export function mtlsModeOf(policy: MtlsPolicy, port: number): MtlsMode {
  return policy.ports.get(port) ?? policy.mode;
}

/** Some port is STRICT. */
export function demandsMtls(policy: MtlsPolicy): boolean {
  return policy.mode === 'STRICT' || [...policy.ports.values()].includes('STRICT');
}
