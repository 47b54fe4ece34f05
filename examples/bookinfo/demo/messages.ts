import type { ConfigProblem, MeshStats } from 'inmesh';

/** What the processes of the demo tell the launcher, over the channel that `fork` opens. */
export type Message =
  /** A service listens. */
  | { readonly kind: 'ready'; readonly port: number }
  /** Where its admin endpoints are. */
  | { readonly kind: 'admin'; readonly url: string }
  /** Its counters, twice a second. */
  | { readonly kind: 'stats'; readonly stats: MeshStats }
  | { readonly kind: 'config'; readonly version: string }
  | { readonly kind: 'config-rejected'; readonly problems: readonly ConfigProblem[] }
  | { readonly kind: 'certificate'; readonly generation: number; readonly validForMs: number }
  | { readonly kind: 'endpoint'; readonly workload: string; readonly address: string; readonly healthy: boolean }
  /** The authority serves. Tokens by service account. */
  | { readonly kind: 'authority'; readonly url: string; readonly tokens: Readonly<Record<string, string>> }
  /** The load generator's own view, from outside the mesh. */
  | { readonly kind: 'load'; readonly load: LoadFigures }
  /** Answer of the caller that the checks command. */
  | { readonly kind: 'answer'; readonly id: number; readonly status: number; readonly error: string };

/** Counted since the start, by an outside client of the page. */
export interface LoadFigures {
  readonly pages: number;
  /** Pages that came, but with a part missing. */
  readonly incomplete: number;
  /** No page, or another status than 200. */
  readonly failed: number;
}

/** Sends to the launcher; does nothing in a process that was started by hand. */
export function tell(message: Message): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

/** Ends this process when the launcher is gone, however it went. */
export function endWithLauncher(): void {
  process.once('disconnect', () => process.exit(0));
}
