import type { ServerCall } from '../../src/pipeline/server-call.ts';

/** The caller goes away. Before Node 24 a response without a connection does not say that it was destroyed. */
export function leave({ response }: Pick<ServerCall, 'response'>): void {
  let told = false;
  response.once('close', () => (told = true));
  response.destroy();
  setImmediate(() => told || response.emit('close'));
}
