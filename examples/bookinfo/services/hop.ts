import type { Mesh } from 'inmesh';

/** What one service saw of one call: who called, as proven by the certificate, and who answered. */
export interface Hop {
  readonly service: string;
  readonly version: string;
  /** SPIFFE ID of the caller; null when it showed no certificate. */
  readonly caller: string | null;
  readonly requestId: string;
}

interface Seen {
  readonly peer?: { readonly spiffeId: string } | undefined;
  readonly requestId: string;
}

/** Every service of the demo answers with one of these, so that the page can show the whole way. */
export function hop(mesh: Mesh, seen: Seen | undefined): Hop {
  return {
    service: mesh.workload.labels['app'] ?? mesh.workload.name,
    version: mesh.workload.labels['version'] ?? '',
    caller: seen?.peer?.spiffeId ?? null,
    requestId: seen?.requestId ?? '',
  };
}
