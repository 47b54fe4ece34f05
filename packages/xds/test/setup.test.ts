import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshError } from 'inmesh/identity';
import t from 'tap';
import type { JsonObject } from '../src/proto/struct.ts';
import { readBootstrap } from '../src/setup/bootstrap.ts';
import { addressesOf, nodeOf } from '../src/setup/node.ts';
import type { XdsSourceOptions } from '../src/setup/options.ts';
import { resolveSettings } from '../src/setup/resolve.ts';
import { workload } from './support/running-source.ts';

const folder = mkdtempSync(join(tmpdir(), 'xds-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

t.test('a process of Istio is known by namespace, labels, addresses and service account', async (t) => {
  const env = {
    POD_NAME: 'web-7',
    INSTANCE_IP: '10.1.2.3',
    NODE_NAME: 'node-1',
    ISTIO_META_CLUSTER_ID: 'east',
    ISTIO_META_NETWORK: 'net',
    ISTIO_METAJSON_ANNOTATIONS: '{"a":"b"}',
    PROXY_CONFIG: '{"discoveryAddress":"istiod.other.svc:15012","concurrency":2}',
  };
  const settings = resolveSettings({ env, node: { metadata: { MESH_ID: 'mesh' } } });
  t.same(settings.servers, [
    { address: 'istiod.other.svc:15012', tokenFile: '/var/run/secrets/tokens/istio-token', tls: {} },
  ]);
  t.match(settings, { profile: 'istio', protocol: 'delta', ignoreDeletion: false, missingMs: 15_000 });
  const addresses = addressesOf(settings.node, env);
  const node = nodeOf('istio', settings.node, { ...workload, locality: 'r/z/s' }, addresses, env);
  t.same(node, {
    id: 'sidecar~10.1.2.3~web-7.shop~shop.svc.cluster.local',
    cluster: 'web.shop',
    user_agent_name: 'inmesh',
    client_features: [
      'envoy.lb.does_not_support_overprovisioning',
      'xds.config.resource-in-sotw',
      'xds.config.supports-resource-ttl',
    ],
    locality: { region: 'r', zone: 'z', sub_zone: 's' },
    metadata: {
      NAMESPACE: 'shop',
      SERVICE_ACCOUNT: 'web',
      LABELS: { app: 'web' },
      INSTANCE_IPS: '10.1.2.3',
      CLUSTER_ID: 'east',
      ISTIO_VERSION: '1.32.0',
      WORKLOAD_NAME: 'web',
      NAME: 'web-7',
      PROXY_CONFIG: { discoveryAddress: 'istiod.other.svc:15012', concurrency: 2 },
      DISABLE_HBONE_SEND: 'true',
      NETWORK: 'net',
      ANNOTATIONS: { a: 'b' },
      NODE_NAME: 'node-1',
      MESH_ID: 'mesh',
    },
  });
  t.ok(
    addressesOf({}, {}).every((address) => !address.startsWith('127.')),
    'else the addresses of the machine',
  );
});

const minimal = { xds_servers: [{ server_uri: 'td.test:443', channel_creds: [{ type: 'tls' }] }] };

t.test('the bootstrap of gRPC: servers, TLS, tokens, node', async (t) => {
  const bootstrap: JsonObject = {
    xds_servers: [
      {
        server_uri: 'dns:///istiod.istio-system.svc:15012',
        channel_creds: [
          { type: 'google_default' },
          {
            type: 'tls',
            config: {
              ca_certificate_file: '/root.pem',
              certificate_file: '/c.pem',
              private_key_file: '/k.pem',
              refresh_interval: '60s',
            },
          },
          { type: 'insecure' },
        ],
        call_creds: [{ type: 'other' }, { type: 'jwt_token_file', config: { jwt_token_file: '/token' } }],
        server_features: ['xds_v3', 'ignore_resource_deletion', 'resource_timer_is_transient_error', 'new'],
      },
      { server_uri: 'unix:/run/xds.sock', channel_creds: [{ type: 'insecure' }] },
    ],
    node: { id: 'n', cluster: 'c', metadata: { a: 1 }, locality: { region: 'r', zone: 'z' }, extensions: [] },
    server_listener_resource_name_template: 'lds/%s',
    certificate_providers: {},
  };
  const read = readBootstrap(bootstrap, {});
  t.same(read.servers, [
    {
      address: 'dns:///istiod.istio-system.svc:15012',
      tls: { trustRoot: '/root.pem', certificateFile: '/c.pem', keyFile: '/k.pem' },
      tokenFile: '/token',
      features: ['xds_v3', 'ignore_resource_deletion', 'resource_timer_is_transient_error', 'new'],
    },
    { address: 'unix:/run/xds.sock', tls: false, features: [] },
  ]);
  t.same(read.ignored, [
    '$.certificate_providers',
    '$.xds_servers[0].server_features[3]',
    '$.xds_servers[0].call_creds[0]',
    '$.node.extensions',
  ]);
  const settings = resolveSettings({ bootstrap, services: ['a:80'], serves: ['0.0.0.0:8080'], env: {} });
  t.match(settings, {
    profile: 'grpc',
    protocol: 'sotw',
    missingMs: 30_000,
    ignoreDeletion: true,
    serverListeners: ['lds/0.0.0.0:8080'],
    node: { id: 'n', cluster: 'c', metadata: { a: 1 }, locality: { region: 'r', zone: 'z', subZone: '' } },
  });
  const file = join(folder, 'bootstrap.json');
  writeFileSync(file, JSON.stringify(minimal));
  const both = { GRPC_XDS_BOOTSTRAP: file, GRPC_XDS_BOOTSTRAP_CONFIG: '{}' };
  t.same(readBootstrap(true, both).servers, [{ address: 'td.test:443', tls: { trustRoot: 'SYSTEM' }, features: [] }]);
  t.equal(readBootstrap(true, { GRPC_XDS_BOOTSTRAP_CONFIG: JSON.stringify(minimal) }).servers.length, 1);
});

t.test('a wrong bootstrap is refused with the JSON path of what is wrong', async (t) => {
  const server = (more: object): object => ({ xds_servers: [{ ...minimal.xds_servers[0], ...more }] });
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [{}, /\$\.xds_servers: expected one server/],
    [{ xds_servers: {} }, /\$\.xds_servers: expected a list, not \{\}/],
    [{ xds_servers: ['x'] }, /\$\.xds_servers\[0\]: expected an object, not "x"/],
    [server({ server_uri: 3 }), /\$\.xds_servers\[0\]\.server_uri: expected a text, not 3/],
    [server({ server_uri: '' }), /\.server_uri: expected host:port/],
    [server({ server_uri: 'x' }), /\.server_uri: expected host:port or unix:\/path, not "x"/],
    [server({ channel_creds: [{ type: 'google_default' }] }), /\.channel_creds: expected one of type tls or insecure/],
    [
      server({ channel_creds: [{ type: 'tls', config: { certificate_file: '/c' } }] }),
      /channel_creds\[0\]\.config: expected certificate_file and private_key_file together/,
    ],
    [server({ channel_creds: [{ type: 'tls', config: [] }] }), /channel_creds\[0\]\.config: expected an object/],
    [
      server({ call_creds: [{ type: 'jwt_token_file' }] }),
      /call_creds\[0\]\.config\.jwt_token_file: expected the path/,
    ],
    [
      server({
        channel_creds: [{ type: 'insecure' }],
        call_creds: [{ type: 'jwt_token_file', config: { jwt_token_file: '/t' } }],
      }),
      /call_creds: a token is sent over TLS only/,
    ],
    [server({ server_features: [1] }), /server_features\[0\]: expected a text/],
    [{ ...minimal, node: [] }, /\$\.node: expected an object/],
    [{ ...minimal, node: { id: 1 } }, /\$\.node\.id: expected a text/],
    [{ ...minimal, node: { metadata: 'x' } }, /\$\.node\.metadata: expected an object/],
    [{ ...minimal, server_listener_resource_name_template: 'x' }, /template: expected a text with %s/],
  ];
  for (const [bootstrap, message] of cases) {
    t.throws(() => readBootstrap(bootstrap as JsonObject, {}), { code: 'ERR_MESH_OPTION_INVALID', message });
  }
  t.throws(() => readBootstrap(true, {}), /expected GRPC_XDS_BOOTSTRAP or/);
  t.throws(() => readBootstrap(true, { GRPC_XDS_BOOTSTRAP: join(folder, 'none') }), /cannot be read: ENOENT/);
  t.throws(() => readBootstrap(true, { GRPC_XDS_BOOTSTRAP_CONFIG: '{' }), /\$: expected JSON/);
});

t.test('wrong options are refused by their names', async (t) => {
  const server = { address: 'a:1', tls: false } as const;
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ profile: 'x' }, /profile: expected istio or grpc, not "x"/],
    [{ server: 'nowhere' }, /server\.address: expected host:port or unix:\/path, not "nowhere"/],
    [{ server: [] }, /server: expected one server/],
    [{ server: { ...server, tokenFile: '/t' } }, /server\.tokenFile: a token is sent over TLS only/],
    [{ server: [server, { address: 'a:0' }] }, /server\[1\]\.address/],
    [{ server: { address: 'a:1', tls: { keyFile: '/k' } } }, /server\.tls: expected certificateFile and keyFile/],
    [
      { server: { address: 'a:1', tls: { keyFile: '/k', certificateFile: '/c', identity: true } } },
      /identity or certificateFile/,
    ],
    [{ server: { address: 'a:1', tls: { serverName: '10.0.0.1' } } }, /serverName: expected a DNS name/],
    [{ server: { address: 'unix:/x', tls: {} } }, /serverName: expected a DNS name where the address has none/],
    [{ protocol: 'x' }, /protocol: expected delta or sotw/],
    [{ profile: 'grpc' }, /server: expected a server or a bootstrap/],
    [{ profile: 'grpc', server: 'a:1', services: ['b:1'] }, /server: expected \{ address, tls \}/],
    [{ profile: 'grpc', server }, /services: profile grpc asks for what is named/],
    [{ profile: 'grpc', server, services: ['b'] }, /services: expected host:port, not "b"/],
    [{ services: ['b:1'] }, /services: profile istio asks for all services/],
    [{ profile: 'grpc', server, serves: ['0.0.0.0:1'], serverListenerTemplate: 'x' }, /serverListenerTemplate/],
    [{ missingMs: 0 }, /missingMs: expected more than 0/],
    [{ maxResources: -1 }, /maxResources/],
    [{ headers: { authorization: 'x' } }, /headers: expected names in lower case, and tokens in tokenFile/],
    [{ headers: { a: 'ä' } }, /headers\.a: expected printable ASCII/],
    [{ env: { PROXY_CONFIG: '{' } }, /PROXY_CONFIG: expected JSON/],
  ];
  for (const [options, message] of cases) {
    t.throws(() => resolveSettings({ env: {}, ...options } as XdsSourceOptions), {
      code: 'ERR_MESH_OPTION_INVALID',
      message,
    });
  }
  const node =
    (options: object, env = {}): (() => unknown) =>
    () =>
      nodeOf('istio', options, workload, [], env);
  t.throws(node({ id: 'x' }), /node\.id: expected TYPE~IP/);
  t.throws(node({ metadata: { INTERCEPTION_MODE: 'NONE' } }), /INTERCEPTION_MODE/);
  t.throws(node({}, { ISTIO_METAJSON_X: '{' }), /ISTIO_METAJSON_X: expected JSON/);
  t.throws(() => addressesOf({ addresses: ['x'] }, {}), MeshError);
});
