import { errors } from 'undici';

/**
 * The URL under which connections for a Host header are made. Asked once for each set of connections,
 * not for each request.
 *
 * @throws undici's `InvalidArgumentError` for what is no host: applications hand on what they were sent.
 */
export function originOf(host: string): string {
  const origin = `http://${host}`;
  // The name of an endpoint that is a Unix socket stands for a host, too.
  if (!URL.canParse(origin) || (!host.startsWith('unix://') && /[\s@/?#\\]/.test(host))) {
    throw new errors.InvalidArgumentError('invalid host header');
  }
  return origin;
}
