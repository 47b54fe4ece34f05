import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Service } from '../pipeline/filter.ts';

/** Copies that may be under way to one cluster, from their choice to their end. More are dropped. */
export const maxCopiesInFlight = 128;

/**
 * Bytes of bodies that copies under way to one cluster may hold together: what an application has
 * long let go of, a mirror that hangs would keep in memory. A single larger body may go alone.
 */
export const maxBytesInFlight = 8_388_608;

/**
 * A mirror that so many copies in a row have got nothing from (reset, refused, cut off, too late) gets fewer:
 * each costs a connection of its own, which calls that are copied would feel.
 */
export const maxFailuresInRow = 16;

/**
 * Milliseconds between two copies to such a mirror: twice as long after each that fails, up to 5 s. One a second
 * was still to be seen in the 99th percentile of 2,000 copied calls a second, where each of them answered without end.
 */
const firstPauseMs = 10;
const longestPauseMs = 5_000;

/**
 * The way of copies to one cluster. It admits a bounded number at a time, so that a mirror that
 * hangs holds no more than that, and only a few of a mirror that fails them all; it swallows whatever
 * becomes of them.
 */
export class MirrorLane implements CallWatcher {
  readonly cluster: string;
  readonly #dropped: () => void;
  readonly #clock: Clock;
  /** With the bytes that each holds. */
  readonly #calls: Map<ClientCall, number>;
  #taken: number;
  #bytes: number;
  #closed: boolean;
  #failures: number;
  #pauseMs: number;
  /** No copy before this time; monotonic milliseconds. */
  #pausedUntil: number;

  /** `dropped` is told of each copy that is not sent because a limit was reached. */
  constructor(cluster: string, clock: Clock, dropped: () => void) {
    this.cluster = cluster;
    this.#clock = clock;
    this.#dropped = dropped;
    this.#calls = new Map();
    this.#taken = 0;
    this.#bytes = 0;
    this.#closed = false;
    this.#failures = 0;
    this.#pauseMs = 0;
    this.#pausedUntil = Number.NEGATIVE_INFINITY;
  }

  /** Places that are taken: copies under way, and those whose body is still being collected. */
  get active(): number {
    return this.#taken;
  }

  /** Takes a place for a copy with a body of this size; false, and one more that was dropped, when there is none. */
  enter(bytes: number): boolean {
    if (this.#closed) return false;
    const tooLarge = bytes > 0 && this.#bytes > 0 && this.#bytes + bytes > maxBytesInFlight;
    if (this.#taken >= maxCopiesInFlight || tooLarge || this.#isPaused()) {
      this.#dropped();
      return false;
    }
    this.#taken++;
    this.#bytes += bytes;
    return true;
  }

  /** One copy a pause finds out whether the mirror is well again. */
  #isPaused(): boolean {
    if (this.#pauseMs === 0) return false;
    const now = this.#clock.now();
    if (now < this.#pausedUntil) return true;
    this.#pausedUntil = now + this.#pauseMs;
    return false;
  }

  /** Gives a place back whose copy is not sent. */
  leave(bytes: number, dropped: boolean): void {
    this.#taken--;
    this.#bytes -= bytes;
    if (dropped) this.#dropped();
  }

  /** Sends a copy; the place that was taken for it is given back when it has ended. */
  send(copy: ClientCall, bytes: number, service: Service<ClientCall, Reply>): void {
    if (this.#closed) {
      this.leave(bytes, false);
      return;
    }
    this.#calls.set(copy, bytes);
    copy.watch(this);
    const failed = (error: unknown): void => {
      copy.ended(error instanceof MeshError && !copy.cancelled ? error.status : 0, error as Error);
    };
    try {
      service(copy).then((reply) => {
        if (copy.reason === null) reply.deliver(copy);
        else {
          reply.discard();
          failed(copy.reason);
        }
      }, failed);
    } catch (error) {
      failed(error);
    }
  }

  callEnded(copy: ClientCall, _status: number, error: Error | undefined): void {
    const bytes = this.#calls.get(copy);
    if (bytes === undefined) return;
    this.#calls.delete(copy);
    this.leave(bytes, false);
    if (error === undefined) {
      this.#failures = 0;
      this.#pauseMs = 0;
    } else if (++this.#failures >= maxFailuresInRow) {
      this.#pauseMs = Math.min(longestPauseMs, Math.max(firstPauseMs, this.#pauseMs * 2));
      this.#pausedUntil = this.#clock.now() + this.#pauseMs;
    }
  }

  /** Cuts off whatever is under way, for nobody waits for it, and takes nothing new. */
  cut(): void {
    this.#closed = true;
    for (const copy of [...this.#calls.keys()]) copy.abort(new MeshError('ERR_MESH_CLOSED', 'the mesh was closed'));
  }
}

/** The lanes of a mesh: they outlive configurations, so that a change admits no more copies. */
export interface MirrorLanes {
  of(cluster: string): MirrorLane;
  /** Cuts off all copies under way. */
  cut(): void;
}

export function createMirrorLanes(clock: Clock, dropped: (cluster: string) => () => void): MirrorLanes {
  const lanes = new Map<string, MirrorLane>();
  return {
    of(cluster) {
      let lane = lanes.get(cluster);
      if (lane === undefined) lanes.set(cluster, (lane = new MirrorLane(cluster, clock, dropped(cluster))));
      return lane;
    },
    cut() {
      for (const lane of lanes.values()) lane.cut();
    },
  };
}
