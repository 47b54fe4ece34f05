import type { ChaosCase } from './case.ts';
import { connectionCases } from './cases/ep-connections.ts';

/** Every case, in order of the catalogue of faults. */
export const allCases: readonly ChaosCase[] = [...connectionCases];
