import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { MeshError } from '../../../src/errors.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { PathNormalization } from '../../../src/model/inbound.ts';
import { createServerCall, passed, type ServerCall } from '../../../src/pipeline/server-call.ts';
import { sanitizeFilter } from '../../../src/sanitize/filter.ts';
import { namesOf } from './areas.ts';
import type { Guard } from './guards.ts';
import type { RouterUnderTest } from './routers.ts';

/** The modes of `pathNormalization`. */
export const modes: readonly PathNormalization[] = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'];

/** What became of the targets. */
export interface Outcome {
  /** Policy let it through, and a handler that it guards ran. */
  readonly bypasses: readonly string[];
  /** Targets that are no requests: 400. */
  readonly refused: number;
  /** Requests as the application sees them, each asked once. */
  readonly asked: number;
  /** Times that a request reached an area which a policy guards, and was refused by it. */
  readonly guarded: number;
}

const sanitizers = {
  NONE: sanitizeFilter('NONE'),
  BASE: sanitizeFilter('BASE'),
  MERGE_SLASHES: sanitizeFilter('MERGE_SLASHES'),
  DECODE_AND_MERGE_SLASHES: sanitizeFilter('DECODE_AND_MERGE_SLASHES'),
};

const owner = { clock: systemClock };

/** The request as the front door hands it on; nothing when it is refused there. */
export function sanitized(target: string, mode: PathNormalization): ServerCall | undefined {
  const request = {
    url: target,
    method: 'GET',
    httpVersion: '1.1',
    headers: { host: 'web' },
    rawHeaders: ['host', 'web'],
    socket: {},
  } as unknown as IncomingMessage;
  const call = createServerCall(request, {} as ServerResponse, () => {}, owner, 0, undefined);
  try {
    sanitizers[mode](call, () => passed);
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
  return call;
}

/**
 * Asks every router about every target in every mode of normalisation, and every policy about what
 * reached something.
 */
export async function findBypasses(
  targets: Iterable<string>,
  routers: readonly RouterUnderTest[],
  guards: readonly Guard[],
): Promise<Outcome> {
  const bypasses: string[] = [];
  const known = new Map<string, readonly number[]>();
  let refused = 0;
  let guarded = 0;
  let round = 0;
  for (const target of targets) {
    // Express ends each request in a later turn of the loop.
    if (++round % 2_000 === 0) await setImmediate();
    for (const mode of modes) {
      const call = sanitized(target, mode);
      if (call === undefined) {
        refused++;
        continue;
      }
      const url = call.request.url as string;
      let reached = known.get(url);
      if (reached === undefined) {
        reached = routers.map(({ reach }) => reach(url));
        if (reached.every((bits) => bits === 0)) reached = nothing;
        known.set(url, reached);
      }
      if (reached === nothing) continue;
      const any = reached.reduce((all, bits) => all | bits, 0);
      for (const { name, guarded: area, authorize } of guards) {
        if ((any & area) === 0) continue;
        if (authorize(call) !== undefined) {
          guarded++;
          continue;
        }
        for (const [index, bits] of reached.entries()) {
          if ((bits & area) === 0) continue;
          const where = `${routers[index]?.name} (${mode}): ${namesOf(bits & area)}`;
          bypasses.push(`${JSON.stringify(target)} as ${url} passes ${name} and reaches ${where}`);
        }
      }
    }
  }
  return { bypasses, refused, asked: known.size, guarded };
}

const nothing: readonly number[] = [];
