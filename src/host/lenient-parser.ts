import type { IncomingMessage } from 'node:http';

const flag = '--insecure-http-parser';
const byFlag = process.execArgv.includes(flag) || (process.env['NODE_OPTIONS'] ?? '').includes(flag);

/**
 * Whether Node's lenient parser has read a request: by an option of the server, or by a flag of the
 * process. What it lets pass (bare CR, two lengths, spaces before colons) is what smuggling is made of.
 */
export function wasReadLeniently({ httpVersionMajor, socket }: IncomingMessage): boolean {
  if (httpVersionMajor >= 2) return false;
  const server = (socket as { readonly server?: { readonly insecureHTTPParser?: boolean } }).server;
  return server?.insecureHTTPParser ?? byFlag;
}
