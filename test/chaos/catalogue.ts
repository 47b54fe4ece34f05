import type { ChaosCase } from './case.ts';
import { connectionCases } from './cases/ep-connections.ts';
import { healthCases } from './cases/ep-health.ts';
import { identityCases } from './cases/ep-identity.ts';
import { nameCases } from './cases/ep-names.ts';
import { linkCases } from './cases/net-links.ts';
import { partitionCases } from './cases/net-partitions.ts';

/** Every case. */
const written: readonly ChaosCase[] = [
  ...connectionCases,
  ...healthCases,
  ...identityCases,
  ...nameCases,
  ...linkCases,
  ...partitionCases,
];

/** Every case, in order of the catalogue of faults. */
export const allCases: readonly ChaosCase[] = written.toSorted((a, b) => a.id.localeCompare(b.id));
