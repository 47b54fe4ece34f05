import type { EjectionCause } from '../model/cluster.ts';

/** Counters of one cluster; they only grow. Names follow Envoy's `cluster.<name>.outlier_detection.*`. */
export interface OutlierStats {
  /** Ejections by cause (`ejections_enforced_<cause>`); their sum is `ejections_enforced_total`. */
  readonly enforced: Partial<Record<EjectionCause, number>>;
  /** Findings by cause, whether they led to an ejection or not (`ejections_detected_<cause>`). */
  readonly detected: Partial<Record<EjectionCause, number>>;
  /** Findings that were let pass because enough endpoints were out (`ejections_overflow`). */
  overflow: number;
}

export function newOutlierStats(): OutlierStats {
  return { enforced: {}, detected: {}, overflow: 0 };
}

export function count(counters: Partial<Record<EjectionCause, number>>, cause: EjectionCause): void {
  counters[cause] = (counters[cause] ?? 0) + 1;
}
