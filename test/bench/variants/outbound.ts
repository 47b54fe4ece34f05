import type { OutboundVariant } from '../variant.ts';
import { cockatiel } from './cockatiel.ts';
import { globalFetch } from './global-fetch.ts';
import { grpcJs, meshGrpc } from './grpc.ts';
import {
  meshAgent,
  meshDispatcher,
  meshFetch,
  meshMirror,
  meshResilience,
  meshSampled,
  meshUnsampled,
} from './mesh.ts';
import { nodeHttp } from './node-http.ts';
import { opossum } from './opossum.ts';
import { undiciRequest } from './undici.ts';
import { undiciFetch } from './undici-fetch.ts';
import { undiciRetry } from './undici-retry.ts';

/** In the order of the table: a base comes before what is compared with it. */
export const outboundVariants: readonly OutboundVariant[] = [
  undiciRequest,
  meshDispatcher,
  meshResilience,
  meshMirror,
  meshUnsampled,
  meshSampled,
  undiciRetry,
  opossum,
  cockatiel,
  undiciFetch,
  globalFetch,
  meshFetch,
  nodeHttp,
  meshAgent,
  grpcJs,
  meshGrpc,
];
