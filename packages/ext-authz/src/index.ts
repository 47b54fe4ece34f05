// Nothing but types is needed of it, but it tells older versions of Node.js which one is needed.
import 'inmesh';

export { grpcExternalAuthorization } from './authorization.ts';
