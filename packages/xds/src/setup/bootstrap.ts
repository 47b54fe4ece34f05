import { readFileSync } from 'node:fs';
import type { JsonObject } from '../proto/struct.ts';
import type { Environment } from './node.ts';
import type { NodeOptions } from './options.ts';
import { hostOf, invalid, type XdsServer, type XdsTls } from './server.ts';

/** What a bootstrap says of what there is an option for. */
export interface Bootstrap {
  readonly servers: readonly XdsServer[];
  readonly node: NodeOptions;
  readonly serverListenerTemplate?: string;
  /** Members that have no effect here, by their JSON paths. */
  readonly ignored: readonly string[];
}

/** Members that are read, or that change nothing that this source does. */
const known: Readonly<Record<string, readonly string[]>> = {
  '': ['xds_servers', 'node', 'server_listener_resource_name_template'],
  server: ['server_uri', 'channel_creds', 'call_creds', 'server_features'],
  node: ['id', 'cluster', 'metadata', 'locality'],
  features: [
    'xds_v3',
    'ignore_resource_deletion',
    'fail_on_data_errors',
    'resource_timer_is_transient_error',
    'resource_timer_indicates_transient_failure',
    'trusted_xds_server',
  ],
};

/**
 * Reads gRPC's bootstrap (gRFC A27; TLS of A65, tokens of A97): its text is in
 * `GRPC_XDS_BOOTSTRAP_CONFIG`, or in the file that `GRPC_XDS_BOOTSTRAP` names, which goes first.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` that names the member: `$.xds_servers[0].channel_creds`
 */
export function readBootstrap(given: true | JsonObject, env: Environment): Bootstrap {
  const top = given === true ? fromEnvironment(env) : given;
  const ignored: string[] = [];
  const pass = (value: JsonObject, path: string, names: readonly string[] = []): void => {
    for (const name of Object.keys(value)) if (!names.includes(name)) ignored.push(`${path}.${name}`);
  };
  pass(top, '$', known['']);
  const servers = listAt(top, 'xds_servers', '$').map((value, index) => {
    const path = `$.xds_servers[${index}]`;
    const server = objectOf(value, path);
    pass(server, path, known['server']);
    return serverOf(server, path, ignored);
  });
  if (servers.length === 0) throw wrong('$.xds_servers', 'expected one server at least');
  const template = textAt(top, 'server_listener_resource_name_template', '$');
  if (template !== undefined && !template.includes('%s')) {
    throw wrong('$.server_listener_resource_name_template', 'expected a text with %s', template);
  }
  return {
    servers,
    node: top['node'] === undefined ? {} : nodeOptions(objectOf(top['node'], '$.node'), pass),
    ignored,
    ...(template === undefined ? {} : { serverListenerTemplate: template }),
  };
}

function fromEnvironment(env: Environment): JsonObject {
  const file = env['GRPC_XDS_BOOTSTRAP'];
  const inline = env['GRPC_XDS_BOOTSTRAP_CONFIG'];
  let text = inline ?? '';
  if (file !== undefined && file !== '') {
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw invalid('bootstrap', `the file of GRPC_XDS_BOOTSTRAP cannot be read: ${(error as Error).message}`);
    }
  } else if (text === '') {
    throw invalid('bootstrap', 'expected GRPC_XDS_BOOTSTRAP or GRPC_XDS_BOOTSTRAP_CONFIG to be set');
  }
  try {
    return objectOf(JSON.parse(text), '$');
  } catch (error) {
    if (error instanceof SyntaxError) throw wrong('$', `expected JSON: ${error.message}`);
    throw error;
  }
}

function serverOf(server: JsonObject, path: string, ignored: string[]): XdsServer {
  const address = textAt(server, 'server_uri', path);
  if (address === undefined) throw wrong(`${path}.server_uri`, 'expected host:port');
  try {
    hostOf(address, 'server_uri');
  } catch {
    throw wrong(`${path}.server_uri`, 'expected host:port or unix:/path', address);
  }
  const features = listAt(server, 'server_features', path).map((value, index) => {
    if (typeof value !== 'string') throw wrong(`${path}.server_features[${index}]`, 'expected a text', value);
    if (!known['features']?.includes(value)) ignored.push(`${path}.server_features[${index}]`);
    return value;
  });
  const tls = channelOf(server, path, ignored);
  const tokenFile = tokenFileOf(server, path, ignored);
  if (tls === false && tokenFile !== undefined) throw wrong(`${path}.call_creds`, 'a token is sent over TLS only');
  return { address, tls, features, ...(tokenFile === undefined ? {} : { tokenFile }) };
}

/** The first kind that is known: that is what the list is for. */
function channelOf(server: JsonObject, path: string, ignored: string[]): false | XdsTls {
  const list = listAt(server, 'channel_creds', path);
  for (const [index, value] of list.entries()) {
    const place = `${path}.channel_creds[${index}]`;
    const kind = objectOf(value, place);
    const type = textAt(kind, 'type', place);
    if (type === 'insecure') return false;
    if (type !== 'tls') continue;
    const config = kind['config'] === undefined ? {} : objectOf(kind['config'], `${place}.config`);
    const at = (name: string): string | undefined => textAt(config, name, `${place}.config`);
    const names = ['ca_certificate_file', 'certificate_file', 'private_key_file'];
    for (const name of Object.keys(config)) {
      // They are read anew for every stream, however often that is.
      if (!names.includes(name) && name !== 'refresh_interval') ignored.push(`${place}.config.${name}`);
    }
    const [ca, certificateFile, keyFile] = names.map(at);
    if ((certificateFile === undefined) !== (keyFile === undefined)) {
      throw wrong(`${place}.config`, 'expected certificate_file and private_key_file together');
    }
    return {
      trustRoot: ca ?? 'SYSTEM',
      ...(certificateFile === undefined || keyFile === undefined ? {} : { certificateFile, keyFile }),
    };
  }
  throw wrong(`${path}.channel_creds`, 'expected one of type tls or insecure', list);
}

function tokenFileOf(server: JsonObject, path: string, ignored: string[]): string | undefined {
  for (const [index, value] of listAt(server, 'call_creds', path).entries()) {
    const place = `${path}.call_creds[${index}]`;
    const kind = objectOf(value, place);
    if (textAt(kind, 'type', place) !== 'jwt_token_file') {
      ignored.push(place);
      continue;
    }
    const file = textAt(objectOf(kind['config'] ?? {}, `${place}.config`), 'jwt_token_file', `${place}.config`);
    if (file === undefined) throw wrong(`${place}.config.jwt_token_file`, 'expected the path of a file');
    return file;
  }
  return undefined;
}

function nodeOptions(
  node: JsonObject,
  pass: (value: JsonObject, path: string, names?: readonly string[]) => void,
): NodeOptions {
  pass(node, '$.node', known['node']);
  const [id, cluster] = ['id', 'cluster'].map((name) => textAt(node, name, '$.node'));
  const place = node['locality'] === undefined ? undefined : objectOf(node['locality'], '$.node.locality');
  const at = (name: string): string => (place && textAt(place, name, '$.node.locality')) ?? '';
  return {
    ...(id === undefined ? {} : { id }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(node['metadata'] === undefined ? {} : { metadata: objectOf(node['metadata'], '$.node.metadata') }),
    ...(place === undefined ? {} : { locality: { region: at('region'), zone: at('zone'), subZone: at('sub_zone') } }),
  };
}

function objectOf(value: unknown, path: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrong(path, 'expected an object', value);
  return value as JsonObject;
}

function listAt(value: JsonObject, name: string, path: string): readonly unknown[] {
  const list = value[name];
  if (list === undefined) return [];
  if (!Array.isArray(list)) throw wrong(`${path}.${name}`, 'expected a list', list);
  return list;
}

function textAt(value: JsonObject, name: string, path: string): string | undefined {
  const text = value[name];
  if (text === undefined) return undefined;
  if (typeof text !== 'string') throw wrong(`${path}.${name}`, 'expected a text', text);
  return text === '' ? undefined : text;
}

function wrong(path: string, reason: string, value?: unknown): Error {
  return invalid(`bootstrap: ${path}`, reason, value);
}
