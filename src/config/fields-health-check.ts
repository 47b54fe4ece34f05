import { destinationFields } from './fields-circuit-breaker.ts';
import type { KindTable } from './schema.ts';
import { boolean, duration, enforced, integer, list, map, number, object, required, string, text } from './schema.ts';

const headers = map(string({ pattern: /^[^\r\n\0]*$/, mustBe: 'a header value' }), {
  pattern: /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/,
  mustBe: 'a header name',
});
const authority = string({ pattern: /^[^\s\0]+$/, mustBe: 'a host, perhaps with a port' });
const statuses = list(object({ start: required(integer(100, 599)), end: required(integer(101, 600)) }));
const payload = object(
  { string: text, hex: string({ pattern: /^([0-9a-fA-F]{2})+$/, mustBe: 'bytes as pairs of 0-9, a-f' }) },
  ['string', 'hex'],
);

/** `inmesh.dev` HealthCheck. */
export const healthCheckTable: KindTable = {
  kind: 'HealthCheck',
  group: 'inmesh.dev',
  versions: ['v1'],
  status: 'enforced',
  note: 'a kind of inmesh: Envoy’s active health checks, which Istio’s API does not have',
  reference: 'reference/extensions.md#healthcheck',
  fields: {
    spec: required(
      object(
        {
          ...destinationFields,
          http: object({
            path: required(string({ pattern: /^\/[^\s\0]*$/, mustBe: 'a path that begins with /' })),
            host: enforced(authority, 'default: the host of the service'),
            method: enforced(string({ pattern: /^[A-Z]+$/, mustBe: 'a method in capital letters' }), 'default GET'),
            headers,
            expectedStatuses: enforced(statuses, '`end` is not part of it; default 200'),
            retriableStatuses: enforced(statuses, 'these count towards unhealthyThreshold, others fail at once'),
          }),
          tcp: object({
            send: payload,
            receive: enforced(list(payload), 'each must come, after the one before; absent: a connection is enough'),
          }),
          grpc: object({
            service: enforced(string(), 'default: the server as a whole'),
            authority: enforced(authority, 'default: the host of the service'),
            headers,
          }),
          checkPort: enforced(integer(1, 65_535), 'default: the port that calls go to'),
          interval: enforced(duration(), 'default 10s'),
          timeout: enforced(duration(), 'default 1s'),
          unhealthyThreshold: enforced(integer(1, 1_000_000), 'default 3'),
          healthyThreshold: enforced(integer(1, 1_000_000), 'default 1'),
          unhealthyInterval: enforced(duration(), 'default: interval'),
          unhealthyEdgeInterval: enforced(duration(), 'default: unhealthyInterval'),
          healthyEdgeInterval: enforced(duration(), 'default: interval'),
          initialJitter: enforced(duration(), 'default: none'),
          intervalJitter: enforced(duration(), 'default: none'),
          intervalJitterPercent: enforced(number(0, 100), 'default 10'),
          ignoreNewHostsUntilFirstCheck: enforced(boolean, 'default true'),
          minHealthPercent: enforced(integer(0, 100), 'default: that of outlierDetection, else 50; 0 never panics'),
        },
        ['http', 'tcp', 'grpc'],
      ),
    ),
  },
};
