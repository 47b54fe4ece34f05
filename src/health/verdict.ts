import type { HttpProbe, ProbeAnswer, StatusRange } from '../model/health-check.ts';
import type { HealthResult } from './host.ts';

const pass: HealthResult = { kind: 'pass' };

/** What an answer says of the endpoint, as Envoy judges it. */
export function verdictOf(probe: { readonly kind: string } | HttpProbe, answer: ProbeAnswer): HealthResult {
  switch (answer.kind) {
    case 'error':
      return { kind: 'fail', reason: 'network', problem: answer.message };
    case 'connected':
      return pass;
    case 'http': {
      const { expected, retriable } = probe as HttpProbe;
      const { status } = answer;
      if (isIn(status, expected)) return pass;
      const problem = `status ${status}`;
      return { kind: 'fail', reason: 'answer', problem, retriable: isIn(status, retriable), excluded: answer.wantsOut };
    }
    case 'grpc':
      return answer.serving ? pass : { kind: 'fail', reason: 'answer', problem: answer.message };
    default:
      throw new TypeError(`unknown answer ${String(answer satisfies never)}`);
  }
}

function isIn(status: number, ranges: readonly StatusRange[]): boolean {
  return ranges.some(({ from, to }) => status >= from && status <= to);
}
