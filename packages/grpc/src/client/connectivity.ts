import { connectivityState } from '@grpc/grpc-js';
import type { Mesh } from 'inmesh';
import { systemClock } from 'inmesh/identity';

interface Watcher {
  readonly cancel: () => void;
  readonly tell: (error?: Error) => void;
}

/**
 * The states of a channel of the mesh. There is no one connection that they could tell of: READY is a
 * mesh that has what it needs to make calls, and whether somebody answers them is for the calls to
 * find out.
 */
export class Connectivity {
  state: connectivityState;
  readonly #mesh: Pick<Mesh, 'ready'>;
  readonly #watchers: Set<Watcher>;

  constructor(mesh: Pick<Mesh, 'ready'>) {
    this.state = connectivityState.IDLE;
    this.#mesh = mesh;
    this.#watchers = new Set();
  }

  connect(): void {
    const { IDLE, TRANSIENT_FAILURE, CONNECTING, READY } = connectivityState;
    if (this.state !== IDLE && this.state !== TRANSIENT_FAILURE) return;
    this.#become(CONNECTING);
    this.#mesh.ready().then(
      () => this.#become(READY),
      () => this.#become(TRANSIENT_FAILURE),
    );
  }

  /** `callback` is told of the next state that is not `current`, or of a deadline that passes before. */
  watch(current: connectivityState, deadline: Date | number, callback: (error?: Error) => void): void {
    if (this.state === connectivityState.SHUTDOWN) throw new Error('Channel has been shut down');
    const leftMs = Number(deadline) - systemClock.wallNow();
    if (this.state !== current || leftMs <= 0) {
      const late = this.state === current;
      process.nextTick(callback, late ? new Error('Deadline passed without connectivity state change') : undefined);
      return;
    }
    const watcher: Watcher = {
      cancel: Number.isFinite(leftMs)
        ? systemClock.after(
            leftMs,
            () => {
              this.#watchers.delete(watcher);
              callback(new Error('Deadline passed without connectivity state change'));
            },
            true,
          )
        : () => {},
      tell: callback,
    };
    this.#watchers.add(watcher);
  }

  close(): void {
    this.#become(connectivityState.SHUTDOWN);
  }

  #become(state: connectivityState): void {
    if (this.state === connectivityState.SHUTDOWN || this.state === state) return;
    this.state = state;
    for (const watcher of [...this.#watchers]) {
      this.#watchers.delete(watcher);
      watcher.cancel();
      process.nextTick(watcher.tell);
    }
  }
}
