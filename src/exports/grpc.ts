/**
 * Published as `inmesh/grpc`: what gRPC clients of the mesh are made of; `@inmesh/grpc` has them.
 */
import '../lib/require-node.ts';

export { grpcMessage, grpcStatusOf, isGrpc } from '../lib/grpc-answer.ts';
export { grpcStatusOfError } from '../lib/grpc-failure.ts';
export { grpcTimeout } from '../lib/grpc-timeout.ts';
export { printable } from '../lib/printable.ts';
export { type GrpcCall, type GrpcRetry, grpcCall, type RetryThrottle } from '../pipeline/client-call.ts';
export { callerSignal } from '../pipeline/request-context.ts';
export { RetryThrottleBucket, type RetryThrottling } from '../retry/throttle.ts';
