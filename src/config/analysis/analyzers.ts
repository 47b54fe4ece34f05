import type { Analyzer } from './context.ts';

/** All analyzers, in the order in which their findings are shown. */
export const analyzers: readonly Analyzer[] = [];
