import {
  type Clock,
  type OptionNames,
  type Random,
  refuseUnknownOptions,
  systemClock,
  systemRandom,
} from 'inmesh/identity';
import type { XdsProfile } from '../compile/compile.ts';
import { readBootstrap } from './bootstrap.ts';
import { type Environment, proxyConfigOf } from './node.ts';
import type { NodeOptions, XdsSourceOptions } from './options.ts';
import { checkServer, invalid, type XdsServer } from './server.ts';

/** Options with bootstrap, variables and defaults filled in. */
export interface XdsSettings {
  readonly profile: XdsProfile;
  readonly protocol: 'delta' | 'sotw';
  readonly servers: readonly XdsServer[];
  readonly services: readonly string[];
  readonly serverListeners: readonly string[];
  readonly node: NodeOptions;
  readonly headers: Readonly<Record<string, string>>;
  readonly ignoreDeletion: boolean;
  readonly missingMs: number;
  readonly maxMessageBytes: number;
  readonly maxResources: number;
  /** Members of the bootstrap that have no effect. */
  readonly ignoredBootstrap: readonly string[];
  readonly env: Environment;
  readonly clock: Clock;
  readonly random: Random;
}

const optionNames: OptionNames<XdsSourceOptions> = {
  profile: true,
  server: true,
  protocol: true,
  services: true,
  serves: true,
  serverListenerTemplate: true,
  node: true,
  workload: true,
  bootstrap: true,
  headers: true,
  deletions: true,
  missingMs: true,
  maxMessageBytes: true,
  maxResources: true,
  lastGoodFile: true,
  env: true,
  clock: true,
  random: true,
};

const istioTokenFile = '/var/run/secrets/tokens/istio-token';

/** @throws MeshError `ERR_MESH_OPTION_INVALID` naming the option, the variable or the member of the bootstrap */
export function resolveSettings(options: XdsSourceOptions): XdsSettings {
  refuseUnknownOptions('xdsSource', options, optionNames);
  const env = options.env ?? process.env;
  const bootstrap = options.bootstrap === undefined ? undefined : readBootstrap(options.bootstrap, env);
  const profile = options.profile ?? (bootstrap === undefined ? 'istio' : 'grpc');
  if (profile !== 'istio' && profile !== 'grpc') throw invalid('profile', 'expected istio or grpc', profile);
  const servers = serversOf(options, bootstrap?.servers, env);
  for (const [index, server] of servers.entries()) {
    checkServer(server, servers.length === 1 ? 'server' : `server[${index}]`);
  }
  const features = new Set(servers.flatMap((server) => server.features ?? []));
  const slow =
    features.has('resource_timer_is_transient_error') || features.has('resource_timer_indicates_transient_failure');
  const template =
    options.serverListenerTemplate ?? bootstrap?.serverListenerTemplate ?? 'xds.istio.io/grpc/lds/inbound/%s';
  const settings: XdsSettings = {
    profile,
    protocol: options.protocol ?? (profile === 'istio' ? 'delta' : 'sotw'),
    servers,
    services: options.services ?? [],
    serverListeners: (options.serves ?? []).map((address) => template.replace('%s', () => address)),
    node: { ...bootstrap?.node, ...options.node },
    headers: options.headers ?? {},
    ignoreDeletion:
      (options.deletions ?? (features.has('ignore_resource_deletion') ? 'ignore' : 'honour')) === 'ignore',
    missingMs: options.missingMs ?? (slow ? 30_000 : 15_000),
    maxMessageBytes: options.maxMessageBytes ?? 67_108_864,
    maxResources: options.maxResources ?? 100_000,
    ignoredBootstrap: bootstrap?.ignored ?? [],
    env,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
  };
  check(settings, template);
  return settings;
}

function check(settings: XdsSettings, template: string): void {
  const { headers, profile, protocol, serverListeners, services } = settings;
  if (protocol !== 'delta' && protocol !== 'sotw') throw invalid('protocol', 'expected delta or sotw', protocol);
  if (!template.includes('%s')) throw invalid('serverListenerTemplate', 'expected a text with %s', template);
  if (profile === 'grpc' && services.length === 0 && serverListeners.length === 0) {
    throw invalid('services', 'profile grpc asks for what is named: expected services, serves or both');
  }
  if (profile === 'istio' && services.length > 0) {
    throw invalid('services', 'profile istio asks for all services; a Sidecar resource says which');
  }
  for (const service of services) {
    if (!/^[^\s:/]+:\d{1,5}$/.test(service)) throw invalid('services', 'expected host:port', service);
  }
  for (const name of ['missingMs', 'maxMessageBytes', 'maxResources'] as const) {
    if (!(settings[name] > 0)) throw invalid(name, 'expected more than 0', settings[name]);
  }
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[a-z0-9_.-]+$/.test(name) || name === 'authorization') {
      throw invalid('headers', 'expected names in lower case, and tokens in tokenFile', name);
    }
    if (!/^[\x20-\x7e]*$/.test(value)) throw invalid(`headers.${name}`, 'expected printable ASCII');
  }
}

function serversOf(
  { profile, server }: XdsSourceOptions,
  bootstrap: readonly XdsServer[] | undefined,
  env: Environment,
): readonly XdsServer[] {
  if (server === undefined && bootstrap !== undefined) return bootstrap;
  if (server === undefined && profile === 'grpc') throw invalid('server', 'expected a server or a bootstrap');
  if (typeof server === 'object') {
    const list = (Array.isArray(server) ? server : [server]) as readonly XdsServer[];
    if (list.length === 0) throw invalid('server', 'expected one server at least');
    return list;
  }
  // Whether a token goes to a stranger, and over what, is not for a default to say.
  if (profile === 'grpc') throw invalid('server', 'expected { address, tls } in profile grpc', server);
  const discovery = proxyConfigOf(env)['discoveryAddress'];
  const address = server ?? (typeof discovery === 'string' ? discovery : 'istiod.istio-system.svc:15012');
  const root = env['CA_ROOT_CA'];
  return [{ address, tokenFile: istioTokenFile, tls: root === undefined || root === '' ? {} : { trustRoot: root } }];
}
