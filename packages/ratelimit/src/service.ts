import { validateHeaderName, validateHeaderValue } from 'node:http';
import { type ChannelCredentials, type ChannelOptions, Client, credentials } from '@grpc/grpc-js';
import { MeshError, type RateLimitQuestion, type RateLimitService, type RateLimitVerdict } from 'inmesh';
import { refuseUnknownOptions, systemClock } from 'inmesh/identity';
import { type DescriptorStatus, type RateLimitResponse, readResponse, writeRequest } from './messages.ts';

/** Options of {@link grpcRateLimitService}. */
export interface GrpcRateLimitOptions {
  /** How the services are spoken to. Default: without TLS. */
  readonly credentials?: ChannelCredentials;
  /** Passed on to grpc-js. */
  readonly channelOptions?: ChannelOptions;
}

const method = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';

type Headers = readonly (readonly [string, string])[];

/**
 * Asks rate limit services in Envoy's protocol (`envoy.service.ratelimit.v3`) over gRPC, with one
 * channel for each service, which connects on first use and again when it was lost.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that there are not
 *
 * @example
 * const mesh = createMesh({ rateLimitService: grpcRateLimitService() });
 */
export function grpcRateLimitService(options: GrpcRateLimitOptions = {}): RateLimitService {
  refuseUnknownOptions('grpcRateLimitService', options, { credentials: true, channelOptions: true });
  const clients = new Map<string, Client>();
  let closed = false;

  const clientOf = (service: string): Client => {
    let client = clients.get(service);
    if (client === undefined) {
      client = new Client(service, options.credentials ?? credentials.createInsecure(), options.channelOptions ?? {});
      clients.set(service, client);
    }
    return client;
  };

  return {
    shouldRateLimit({ descriptors, domain, service, timeoutMs }: RateLimitQuestion): Promise<RateLimitVerdict> {
      if (closed) return Promise.reject(new MeshError('ERR_MESH_CLOSED', 'the rate limit service was closed'));
      const deadline = systemClock.wallNow() + timeoutMs;
      return new Promise((resolve, reject) => {
        clientOf(service).makeUnaryRequest(
          method,
          writeRequest,
          readResponse,
          { domain, descriptors },
          { deadline },
          (error, response) => {
            if (error !== null) reject(error);
            else if (response === undefined) reject(new Error(`${service} answered nothing`));
            else resolve(verdictOf(response));
          },
        );
      });
    },
    close() {
      closed = true;
      for (const client of clients.values()) client.close();
      clients.clear();
    },
  };
}

function verdictOf({ code, requestHeaders, responseHeaders, statuses }: RateLimitResponse): RateLimitVerdict {
  const state = tightest(statuses);
  return {
    // Envoy takes what it does not know for OK.
    limited: code === 'OVER_LIMIT',
    ...(state?.limit === undefined
      ? {}
      : { state: { limit: state.limit, remaining: state.remaining, resetMs: state.resetMs } }),
    responseHeaders: sendable(responseHeaders),
    requestHeaders: sendable(requestHeaders),
  };
}

/** The status of the limit that is reached, or that will be first. */
function tightest(statuses: readonly DescriptorStatus[]): DescriptorStatus | undefined {
  let found: DescriptorStatus | undefined;
  for (const status of statuses) {
    if (status.limit === undefined) continue;
    if (found === undefined || status.remaining < found.remaining) found = status;
  }
  return found;
}

/** A header that HTTP cannot carry must not cost a request its answer. */
function sendable(headers: Headers): Headers {
  return headers.filter(([name, value]) => {
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
      return true;
    } catch {
      return false;
    }
  });
}
