import type { Clock } from '../lib/clock.ts';
import { isInShare, millionths } from '../lib/percent.ts';
import type { Random } from '../lib/random.ts';
import { isReplayable } from '../lib/replayable.ts';
import { youngList } from '../lib/young-list.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { copyBody, maxCopiedBody, sizeOf } from './body.ts';
import { Original } from './copy.ts';
import type { MirrorLane } from './lane.ts';

type Body = ClientCall['request']['body'];

/** One mirror of a route. */
export interface MirrorTarget {
  readonly percent: number;
  readonly lane: MirrorLane;
  /** From the copy to an endpoint of the mirror, with a time limit of its own. */
  readonly service: Service<ClientCall, Reply>;
}

/** Can a mirror with this percentage ever get a copy? */
export function isEverMirrored({ percent }: { readonly percent: number }): boolean {
  return millionths(percent) > 0;
}

/**
 * Sends a copy of what is sent for a call to each mirror that draws it, and thinks no more of it.
 * The call goes first and waits for nothing: not for the copies, nor for their bodies.
 */
export function mirrorFilter(options: {
  readonly targets: readonly MirrorTarget[];
  readonly clock: Clock;
  readonly random: Random;
}): Filter<ClientCall, Reply> {
  const { clock, random } = options;
  const targets = options.targets.map((target) => ({ ...target, share: millionths(target.percent) }));

  const choose = (bytes: number): readonly MirrorTarget[] | undefined => {
    let chosen: MirrorTarget[] | undefined;
    for (const target of targets) {
      if (!isInShare(target.share, random()) || !target.lane.enter(bytes)) continue;
      chosen ??= youngList();
      chosen.push(target);
    }
    return chosen;
  };

  const send = (original: Original, chosen: readonly MirrorTarget[], body: Body, bytes: number): void => {
    for (const { lane, service } of chosen) lane.send(original.copy(body, lane.cluster, clock), bytes, service);
  };

  return (call, next) => {
    const { body, method, upgrade } = call.request;
    // As in Envoy there are no copies of connections; nor of what the application itself encrypts.
    if (upgrade || method === 'CONNECT' || call.origin.startsWith('https:')) return next(call);
    const shared = isReplayable(body);
    const bytes = shared ? sizeOf(body) : maxCopiedBody;
    const chosen = choose(bytes);
    if (chosen === undefined) return next(call);
    const original = new Original(call);
    if (!shared) {
      copyBody(call, (copied) => {
        if (typeof copied !== 'string') send(original, chosen, copied, bytes);
        else for (const { lane } of chosen) lane.leave(bytes, copied === 'too long');
      });
      return next(call);
    }
    try {
      return next(call);
    } finally {
      send(original, chosen, body, bytes);
    }
  };
}
