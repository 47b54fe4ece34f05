import { isInShare, millionths } from '../lib/percent.ts';
import type { Random } from '../lib/random.ts';
import type { DropOverload } from '../model/cluster.ts';
import type { LocalAnswer } from '../pipeline/local-answer.ts';

/** Which share of the calls to a cluster is not sent. */
export interface DropPlan {
  /** Of each category, in order: each draws anew of what those before it have let pass, as in gRPC; Envoy knows one. */
  readonly shares: readonly number[];
  readonly plain: LocalAnswer;
  readonly grpc: LocalAnswer;
}

/** Prepares the categories of a cluster; nothing where none drops anything, so that it needs no filter. */
export function planDrops(drops: readonly DropOverload[] = []): DropPlan | undefined {
  const shares = drops.map(({ percent }) => millionths(percent)).filter((share) => share > 0);
  if (shares.length === 0) return undefined;
  const all = shares.some((share) => share === 1_000_000);
  return { shares, plain: dropAnswer(all, false), grpc: dropAnswer(all, true) };
}

/** Is this call one of those? */
export function isDropped({ shares }: DropPlan, random: Random): boolean {
  for (const share of shares) if (isInShare(share, random())) return true;
  return false;
}

/** Envoy's answer (router filter): 503, told apart from other overload by a header, and where nothing passes by its flag. */
function dropAnswer(all: boolean, grpc: boolean): LocalAnswer {
  const text = all ? 'unconditional drop overload' : 'drop overload';
  const mark = { 'x-envoy-drop-overload': 'true' };
  const flag = all ? 'UDO' : 'DO';
  if (grpc) {
    const headers = { 'content-type': 'application/grpc', 'grpc-status': '14', 'grpc-message': text, ...mark };
    return { status: 200, headers, flag };
  }
  const body = Buffer.from(text);
  return {
    status: 503,
    headers: { 'content-length': String(body.byteLength), 'content-type': 'text/plain', ...mark },
    body,
    flag,
  };
}
