import { type HeaderList, takeHeader } from '../lib/header-list.ts';

/** Headers by which their bearer is logged in. */
const credentials = ['authorization', 'proxy-authorization', 'cookie'] as const;

/**
 * Takes them out of the headers of a copy: a service that was only meant to be tried must not be able to
 * do what the caller can.
 */
export function withoutCredentials(headers: HeaderList): void {
  for (const name of credentials) takeHeader(headers, name);
}
