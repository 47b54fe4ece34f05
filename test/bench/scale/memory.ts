/** Collects garbage, where Node was started with `--expose-gc`. */
export function collectGarbage(): void {
  globalThis.gc?.();
}

/** Most memory that this process has had so far. */
export function peakMegabytes(): number {
  return process.resourceUsage().maxRSS / 1_024;
}

/** Memory that is in use after garbage was collected: heap and buffers. */
export function heldMegabytes(): number {
  collectGarbage();
  const { external, heapUsed } = process.memoryUsage();
  return (heapUsed + external) / 1_048_576;
}
