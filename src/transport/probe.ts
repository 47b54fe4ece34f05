import type { GrpcProbe, HttpProbe, TcpProbe } from '../model/health-check.ts';
import type { ConnectTarget } from './connector.ts';
import { grpcProber } from './probe-grpc.ts';
import { httpProber } from './probe-http.ts';
import { tcpProber } from './probe-tcp.ts';
import type { Prober } from './prober.ts';

/** Asks over connections like those of calls: the same address, the same TLS, the same identity checks. */
export function createProber(target: ConnectTarget, probe: HttpProbe | TcpProbe | GrpcProbe): Prober {
  switch (probe.kind) {
    case 'http':
      return httpProber(target, probe);
    case 'tcp':
      return tcpProber(target, probe);
    case 'grpc':
      return grpcProber(target, probe);
    default:
      throw new TypeError(`unknown probe ${String(probe satisfies never)}`);
  }
}
