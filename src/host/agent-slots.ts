import { AsyncResource } from 'node:async_hooks';
import type { AgentLimit } from './agent-target.ts';

/**
 * Counts requests per key and lets the rest wait in order. node:http's own limit (`maxSockets`) is
 * not used: its queue stands still when a connection fails.
 */
export class Slots {
  readonly #byKey = new Map<string, { taken: number; atOnce: number; waiting: (() => void)[] }>();

  /** Runs `go` now and returns nothing, or later and returns how to leave the queue; throws when that is full. */
  enter({ atOnce, full, key, waiting: room }: AgentLimit, go: () => void): (() => void) | undefined {
    let slot = this.#byKey.get(key);
    if (slot === undefined) this.#byKey.set(key, (slot = { taken: 0, atOnce, waiting: [] }));
    slot.atOnce = atOnce;
    // There may be more room than there was: those that came first go first.
    fill(slot);
    if (slot.taken < atOnce) {
      slot.taken++;
      go();
      return undefined;
    }
    if (slot.waiting.length >= room) throw full();
    // Later it runs because another request ended, but it belongs to the context of its own.
    const turn = AsyncResource.bind(go);
    const { waiting } = slot;
    waiting.push(turn);
    return () => void waiting.splice(waiting.indexOf(turn), 1);
  }

  /** A request that went ended: the next in the queue goes. */
  release(key: string): void {
    const slot = this.#byKey.get(key);
    if (slot === undefined) return;
    slot.taken--;
    fill(slot);
    if (slot.taken === 0) this.#byKey.delete(key);
  }
}

function fill(slot: { taken: number; readonly atOnce: number; readonly waiting: (() => void)[] }): void {
  while (slot.taken < slot.atOnce) {
    const next = slot.waiting.shift();
    if (next === undefined) return;
    slot.taken++;
    next();
  }
}
