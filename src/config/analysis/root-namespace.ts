import { rootNamespace } from '../destination-rules.ts';
import type { AnalysisContext } from './context.ts';

/** The namespace whose policies are for the whole mesh. */
export function rootNamespaceOf(_context: AnalysisContext): string {
  return rootNamespace;
}
