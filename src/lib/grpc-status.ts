/** Names of gRPC status codes, as Istio and OpenTelemetry write them, by their number. */
export const grpcStatusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

/** Number of a status by its name; nothing when there is none of that name. */
export function grpcStatusNumber(name: string): number | undefined {
  const index = (grpcStatusNames as readonly string[]).indexOf(name);
  return index === -1 ? undefined : index;
}
