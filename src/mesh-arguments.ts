import { showValue } from './config/problem.ts';
import type { ConnectOptions } from './connect.ts';
import { MeshError } from './errors.ts';
import { type OptionNames, refuseUnknownOptions, unknownName } from './lib/known-options.ts';
import type { ListenOptions, MeshEvents } from './mesh-api.ts';

/**
 * What `mesh.listen` and `mesh.listenTcp` are told, for callers without types: a port that is text, or a host under
 * another name, would open another port than was meant, on all addresses.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function listenOptionsOf(portOrOptions: number | ListenOptions = {}): ListenOptions {
  const given: unknown = portOrOptions;
  if (typeof given !== 'object' || given === null) return { port: checkedPort(given) };
  const options = given as ListenOptions;
  refuseUnknownOptions('listen', options, { port: true, host: true, grpc: true });
  const { port, host } = given as Readonly<Record<string, unknown>>;
  if (port !== undefined) checkedPort(port);
  if (host !== undefined && (typeof host !== 'string' || host === '')) {
    throw invalid(`listen: host: must be an address or a name of this machine, got ${showValue(host)}`);
  }
  return options;
}

function checkedPort(port: unknown): number {
  if (typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw invalid(`listen: port: must be a whole number from 0 (any free one) to 65535, got ${showValue(port)}`);
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` for a handler of connections that is none */
export function checkHandler(handler: unknown): void {
  if (typeof handler === 'function') return;
  throw invalid(`listenTcp: handler: must be a function, got ${showValue(handler)}`);
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` for what does not say where to connect to */
export function checkConnect(options: ConnectOptions): void {
  const given: unknown = options;
  if (typeof given !== 'object' || given === null) {
    throw invalid(`connect: must be given { host, port }, got ${showValue(given)}`);
  }
  refuseUnknownOptions('connect', options, { host: true, port: true, tls: true, signal: true });
  const { host, port, tls } = given as Readonly<Record<string, unknown>>;
  if (typeof host !== 'string' || host === '') throw invalid(`connect: host: must be a name, got ${showValue(host)}`);
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw invalid(`connect: port: must be a whole number from 1 to 65535, got ${showValue(port)}`);
  }
  if (tls !== undefined && typeof tls !== 'boolean' && (typeof tls !== 'string' || tls === '')) {
    throw invalid(`connect: tls: must be true, false or the name to verify, got ${showValue(tls)}`);
  }
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` for what is no time to wait */
export function checkTimeout(timeoutMs: unknown): void {
  if (timeoutMs === undefined || (typeof timeoutMs === 'number' && timeoutMs >= 0)) return;
  throw invalid(`ready: timeoutMs: must be a number of milliseconds, got ${showValue(timeoutMs)}`);
}

const events: OptionNames<MeshEvents> = {
  config: true,
  'config-rejected': true,
  identity: true,
  'identity-expired': true,
  endpoint: true,
  'authorization-audit': true,
  jwks: true,
  breaker: true,
};

/** @throws MeshError `ERR_MESH_OPTION_INVALID` for an event that never comes, and for what cannot be called */
export function checkListener(event: unknown, listener: unknown): void {
  if (typeof event !== 'string' || !Object.hasOwn(events, event)) {
    const name = typeof event === 'string' ? event : showValue(event);
    throw invalid(`on: ${name}: ${unknownName('event', name, Object.keys(events))}`);
  }
  if (typeof listener === 'function') return;
  throw invalid(`on: listener of ${event}: must be a function, got ${showValue(listener)}`);
}

function invalid(message: string): MeshError {
  return new MeshError('ERR_MESH_OPTION_INVALID', message);
}
