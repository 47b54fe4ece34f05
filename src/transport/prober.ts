import type { ProbeAnswer } from '../model/health-check.ts';

/** Asks one endpoint for its health, one question at a time. */
export interface Prober {
  /** `done` is called at most once, and never from within this call. Returns a function that stops it. */
  ask(done: (answer: ProbeAnswer) => void): () => void;
  /** The next question goes out on a new connection. */
  renew(): void;
  close(): void;
}

/** What a server can tell health checks by; Envoy's, so that they are told alike. */
export const probeAgent = 'Envoy/HC';
