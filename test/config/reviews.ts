import type { Route } from '../../src/model/route.ts';
import { good, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

/** Subsets v1 and v2 of the service `reviews`. */
export const subsets: string = resourceYaml(
  'DestinationRule',
  'reviews',
  '{host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}',
);
export const toV1: string = 'route: [{destination: {host: reviews, subset: v1}}]';
export const toV2: string = 'route: [{destination: {host: reviews, subset: v2}}]';

/** The service `reviews` with these `http` rules, in flow style. */
export function withRoutes(http: string, more = ''): string {
  return (
    serviceYaml() + subsets + resourceYaml('VirtualService', 'reviews', `{hosts: [reviews]${more}, http: [${http}]}`)
  );
}

/** The routes of `reviews:80` for these `http` rules. */
export function routesOf(http: string, options?: TestCompileOptions): readonly Route[] {
  return good(withRoutes(http), options).routes('reviews:80');
}

/** The first route of one `http` rule that goes to v1. */
export function routeOf(fields: string, options?: TestCompileOptions): Route | undefined {
  return routesOf(`{${fields}${fields === '' ? '' : ', '}${toV1}}`, options)[0];
}

/** Name of a cluster of `reviews`. */
export function reviewsCluster(subset: string, port = 80): string {
  return `outbound|${port}|${subset}|reviews.shop.svc.cluster.local`;
}
