export { type GrpcRateLimitOptions, grpcRateLimitService } from './service.ts';
