import type { Lab } from './lab.ts';

/** One fault that is produced for real, and what must come of it. */
export interface ChaosCase {
  /** Identifier in the catalogue of faults. */
  readonly id: string;
  readonly fault: string;
  readonly expected: string;
  /** In `npm test`: quick, and the same on a busy machine. */
  readonly quick?: true;
  /** What the machine must have; without it the case is skipped, and says so. */
  readonly needs?: 'namespace' | 'ipv6';
  /** Why it cannot pass yet. It is listed, and does not count as passed. */
  readonly pending?: string;
  /** What is wrong with the code: the case runs and may fail. It does not count as passed. */
  readonly defect?: string;
  run?(lab: Lab): Promise<void>;
}

/** One thing that was looked at. */
export interface Measure {
  readonly text: string;
  readonly ok: boolean;
}

export interface CaseResult {
  readonly id: string;
  readonly status: 'ok' | 'failed' | 'defect' | 'skipped' | 'pending';
  readonly measures: readonly Measure[];
  readonly seconds: number;
  /** Why it was skipped or is pending, or what was thrown. */
  readonly reason?: string;
}
