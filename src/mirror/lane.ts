import { MeshError } from '../errors.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Service } from '../pipeline/filter.ts';

/** Copies that may be under way to one cluster, from their choice to their end. More are dropped. */
export const maxCopiesInFlight = 128;

/**
 * The way of copies to one cluster. It admits a bounded number at a time, so that a mirror that
 * hangs holds no more than that, and swallows whatever becomes of them.
 */
export class MirrorLane implements CallWatcher {
  readonly cluster: string;
  readonly #dropped: () => void;
  readonly #calls: Set<ClientCall>;
  #taken: number;

  /** `dropped` is told of each copy that is not sent because a limit was reached. */
  constructor(cluster: string, dropped: () => void) {
    this.cluster = cluster;
    this.#dropped = dropped;
    this.#calls = new Set();
    this.#taken = 0;
  }

  /** Places that are taken: copies under way, and those whose body is still being collected. */
  get active(): number {
    return this.#taken;
  }

  /** Takes a place for a copy; false, and one more that was dropped, when there is none. */
  enter(): boolean {
    if (this.#taken >= maxCopiesInFlight) {
      this.#dropped();
      return false;
    }
    this.#taken++;
    return true;
  }

  /** Gives a place back whose copy is not sent. */
  leave(dropped: boolean): void {
    this.#taken--;
    if (dropped) this.#dropped();
  }

  /** Sends a copy; the place that was taken for it is given back when it has ended. */
  send(copy: ClientCall, service: Service<ClientCall, Reply>): void {
    this.#calls.add(copy);
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

  callEnded(copy: ClientCall): void {
    if (this.#calls.delete(copy)) this.#taken--;
  }

  /** Cuts off whatever is under way: nobody waits for it. */
  cut(): void {
    for (const copy of [...this.#calls]) copy.abort(new MeshError('ERR_MESH_CLOSED', 'the mesh was closed'));
  }
}

/** The lanes of a mesh: they outlive configurations, so that a change admits no more copies. */
export interface MirrorLanes {
  of(cluster: string): MirrorLane;
  /** Cuts off all copies under way. */
  cut(): void;
}

export function createMirrorLanes(dropped: (cluster: string) => () => void): MirrorLanes {
  const lanes = new Map<string, MirrorLane>();
  return {
    of(cluster) {
      let lane = lanes.get(cluster);
      if (lane === undefined) lanes.set(cluster, (lane = new MirrorLane(cluster, dropped(cluster))));
      return lane;
    },
    cut() {
      for (const lane of lanes.values()) lane.cut();
    },
  };
}
