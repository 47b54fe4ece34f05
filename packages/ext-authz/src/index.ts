export { grpcExternalAuthorization } from './authorization.ts';
