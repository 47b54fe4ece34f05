/** Counts what is under way and refuses more than the limit (Envoy circuit breaker `max_requests`). */
export interface RequestLimiter {
  /** May change at any time; what is under way stays counted. */
  limit: number;
  readonly active: number;
  /** Takes a place; false when there is none. */
  enter(): boolean;
  leave(): void;
}

export function createRequestLimiter(limit: number): RequestLimiter {
  let active = 0;
  return {
    limit,
    get active() {
      return active;
    },
    enter() {
      if (active >= this.limit) return false;
      active++;
      return true;
    },
    leave() {
      active--;
    },
  };
}
