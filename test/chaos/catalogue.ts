import type { ChaosCase } from './case.ts';
import { connectionCases } from './cases/ep-connections.ts';
import { healthCases } from './cases/ep-health.ts';
import { identityCases } from './cases/ep-identity.ts';
import { nameCases } from './cases/ep-names.ts';
import { linkCases } from './cases/net-links.ts';
import { partitionCases } from './cases/net-partitions.ts';
import { breakerCases } from './cases/pol-breaker.ts';
import { limitCases } from './cases/pol-limits.ts';
import { retryCases } from './cases/pol-retries.ts';
import { sideCases } from './cases/pol-side.ts';

/** Every case. */
const written: readonly ChaosCase[] = [
  ...connectionCases,
  ...healthCases,
  ...identityCases,
  ...nameCases,
  ...linkCases,
  ...partitionCases,
  ...retryCases,
  ...breakerCases,
  ...limitCases,
  ...sideCases,
];

/** Every case, in order of the catalogue of faults. */
export const allCases: readonly ChaosCase[] = written.toSorted((a, b) => a.id.localeCompare(b.id));
