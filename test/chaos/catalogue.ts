import type { ChaosCase } from './case.ts';
import { certAuthorityCases } from './cases/cert-authority.ts';
import { certClockCases } from './cases/cert-clock.ts';
import { certRotationCases } from './cases/cert-rotation.ts';
import { loadCases } from './cases/cp-load.ts';
import { connectionCases } from './cases/ep-connections.ts';
import { healthCases } from './cases/ep-health.ts';
import { http2Cases } from './cases/ep-http2.ts';
import { identityCases } from './cases/ep-identity.ts';
import { nameCases } from './cases/ep-names.ts';
import { linkCases } from './cases/net-links.ts';
import { partitionCases } from './cases/net-partitions.ts';
import { breakerCases } from './cases/pol-breaker.ts';
import { limitCases } from './cases/pol-limits.ts';
import { retryCases } from './cases/pol-retries.ts';
import { sideCases } from './cases/pol-side.ts';
import { churn } from './scenarios/churn.ts';
import { oneBad } from './scenarios/one-bad.ts';
import { reload } from './scenarios/reload.ts';
import { rootCut } from './scenarios/root-cut.ts';
import { threeTiers } from './scenarios/three-tiers.ts';

/** Every case. */
const written: readonly ChaosCase[] = [
  ...certAuthorityCases,
  ...certClockCases,
  ...certRotationCases,
  ...loadCases,
  ...connectionCases,
  ...healthCases,
  ...http2Cases,
  ...identityCases,
  ...nameCases,
  ...linkCases,
  ...partitionCases,
  ...retryCases,
  ...breakerCases,
  ...limitCases,
  ...sideCases,
];

/** Every case, in order of the catalogue of faults; then the scenarios, which are made of several faults. */
export const allCases: readonly ChaosCase[] = [
  ...written.toSorted((a, b) => a.id.localeCompare(b.id)),
  oneBad,
  threeTiers,
  churn,
  reload,
  rootCut,
];
