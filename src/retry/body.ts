import { KeptBody } from '../lib/kept-body.ts';
import { isReplayable } from '../lib/replayable.ts';
import { openerOf, ReopenedBody } from '../lib/replayable-body.ts';
import type { RetryPolicy } from '../model/route.ts';
import type { ClientCall } from '../pipeline/client-call.ts';

/** Can the policy ask for another try after the server has seen one? Only then must bodies be kept. */
export function mayRepeatSent({ retriableHeaders = [], retriableStatusCodes, retryOn }: RetryPolicy): boolean {
  return retryOn.some((word) => {
    switch (word) {
      case 'connect-failure':
      case 'reset-before-request':
        return false;
      case 'retriable-status-codes':
        return retriableStatusCodes.length > 0;
      case 'retriable-headers':
        return retriableHeaders.length > 0;
      default:
        return true;
    }
  });
}

/** Replaces a body that can be read only once by one that can be read for each try, up to `maxBytes`. */
export function keepBody(call: ClientCall, maxBytes: number): void {
  const { request } = call;
  const { body, method, upgrade } = request;
  if (upgrade || method === 'CONNECT' || isReplayable(body)) return;
  const open = openerOf(body);
  if (open === undefined && maxBytes <= 0) return;
  const kept = open === undefined ? new KeptBody(body as object, maxBytes) : new ReopenedBody(open);
  request.body = kept as never;
  call.watch({ callEnded: () => kept.destroy() });
}
