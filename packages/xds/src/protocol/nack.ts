import type { Status } from '../proto/envoy/status.ts';
import { describeResourceProblem, type ResourceProblem } from '../resources.ts';

/** Longest text that a control plane is sent. */
const maxText = 8_192;

/**
 * What a control plane is told of a response: which resources are refused, all of them by name, and
 * why (gRFC A46). Nothing for a response that was good.
 */
export function nackOf(problems: readonly ResourceProblem[]): Pick<Status, 'code' | 'message'> | undefined {
  if (problems.length === 0) return undefined;
  let message = '';
  for (const [index, problem] of problems.entries()) {
    const text = describeResourceProblem(problem);
    if (message.length + text.length > maxText) {
      message += `; and ${problems.length - index} more`;
      break;
    }
    message += (index === 0 ? '' : '; ') + text;
  }
  return { code: 3, message };
}
