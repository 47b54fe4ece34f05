/** What was injected, in the words of Envoy's statistics of its fault filter. */
export interface FaultStatus {
  /** Calls with a fault that are under way (`active_faults`). */
  readonly active: number;
  /** `delays_injected`, `aborts_injected`. */
  readonly delays: number;
  readonly aborts: number;
  /** Calls that had none because enough were under way (`faults_overflow`). */
  readonly overflow: number;
}

/** Counts the faults of one process. A call with several counts once, from the first to its end, as in Envoy. */
export class ActiveFaults {
  readonly #under: WeakSet<object>;
  #active: number;
  #delays: number;
  #aborts: number;
  #overflow: number;

  constructor() {
    this.#under = new WeakSet();
    this.#active = 0;
    this.#delays = 0;
    this.#aborts = 0;
    this.#overflow = 0;
  }

  get status(): FaultStatus {
    return { active: this.#active, delays: this.#delays, aborts: this.#aborts, overflow: this.#overflow };
  }

  /** May there be one more, where at most `max` are under way? */
  admits(max: number): boolean {
    if (this.#active < max) return true;
    this.#overflow++;
    return false;
  }

  /** True for the first fault of this call: whoever is told so calls {@link end} when the call has ended. */
  begin(call: object, kind: 'delay' | 'abort'): boolean {
    if (kind === 'delay') this.#delays++;
    else this.#aborts++;
    if (this.#under.has(call)) return false;
    this.#under.add(call);
    this.#active++;
    return true;
  }

  end(call: object): void {
    if (this.#under.delete(call)) this.#active--;
  }
}
