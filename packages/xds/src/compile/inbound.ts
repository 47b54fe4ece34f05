import { defaultInboundPolicy, type InboundPolicy } from 'inmesh/model';
import type { ResourceSet } from '../resources.ts';
import type { CompileContext, CompiledSide } from './compile.ts';

/** The inbound listener as what this process demands of its callers. */
export function compileInbound(_set: ResourceSet, _context: CompileContext): CompiledSide<InboundPolicy> {
  return { result: defaultInboundPolicy, entries: [], problems: [], wanted: {} };
}
