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
  const reachedBy = (url: string): readonly number[] => {
    let reached = known.get(url);
    if (reached === undefined) {
      reached = routers.map(({ reach }) => reach(url));
      if (reached.every((bits) => bits === 0)) reached = nothing;
      known.set(url, reached);
    }
    return reached;
  };
  const judge = (call: ServerCall): Judged => {
    const url = call.request.url as string;
    const judged: Judged = { url, path: call.path, passed: [], guarded: 0 };
    const reached = reachedBy(url);
    if (reached === nothing) return judged;
    const any = reached.reduce((all, bits) => all | bits, 0);
    for (const { name, guarded: area, authorize } of guards) {
      if ((any & area) === 0) continue;
      if (authorize(call) !== undefined) {
        judged.guarded++;
        continue;
      }
      for (const [index, bits] of reached.entries()) {
        if ((bits & area) !== 0)
          judged.passed.push({ name, router: routers[index]?.name, where: namesOf(bits & area) });
      }
    }
    return judged;
  };
  for (const target of targets) {
    // Express ends each request in a later turn of the loop.
    if (++round % 2_000 === 0) await setImmediate();
    const seen: Judged[] = [];
    for (const mode of modes) {
      const call = sanitized(target, mode);
      if (call === undefined) {
        refused++;
        continue;
      }
      // Of one target policy is shown nothing else that depends on the mode.
      const { path } = call;
      const { url } = call.request;
      let judged = seen.find((each) => each.url === url && each.path === path);
      if (judged === undefined) seen.push((judged = judge(call)));
      guarded += judged.guarded;
      for (const { name, router, where } of judged.passed) {
        bypasses.push(`${JSON.stringify(target)} as ${url} passes ${name} and reaches ${router} (${mode}): ${where}`);
      }
    }
  }
  return { bypasses, refused, asked: known.size, guarded };
}

/** What became of a request as the application sees it, and what policy said. */
interface Judged {
  readonly url: string;
  readonly path: string;
  /** Handlers that a policy guards, and let it reach. */
  readonly passed: { readonly name: string; readonly router: string | undefined; readonly where: string }[];
  guarded: number;
}

const nothing: readonly number[] = [];
