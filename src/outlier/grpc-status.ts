/** HTTP status that stands for each gRPC status code, as Envoy maps them for outlier detection. */
const httpStatus: readonly number[] = [
  200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];

/** What the `grpc-status` of a response that is nothing but headers says of the endpoint. A code that is none: 500. */
export function statusOfGrpc(grpcStatus: string): number {
  return /^\d{1,2}$/.test(grpcStatus) ? (httpStatus[Number(grpcStatus)] ?? 500) : 500;
}
