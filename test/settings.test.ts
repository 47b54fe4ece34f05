import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MeshError } from '../src/errors.ts';
import { silentLogger } from '../src/lib/logger.ts';
import type { MeshOptions } from '../src/mesh-api.ts';
import { resolveSettings } from '../src/settings.ts';
import { isKubernetesServiceVariable, settingsTable } from '../src/settings-table.ts';
import { root } from './support/source-files.ts';

type Env = Record<string, string>;

/** A folder, with `inmesh.yaml` when there is text for it. */
function folder(t: Test, yaml?: string): string {
  return t.testdir(yaml === undefined ? {} : { 'inmesh.yaml': yaml });
}

/** The lines of the refusal. */
function refusal(options: unknown, env: Env, cwd: string): string[] {
  try {
    resolveSettings(options as MeshOptions, env, cwd);
  } catch (error) {
    if (error instanceof MeshError && error.code === 'ERR_MESH_OPTION_INVALID') return error.message.split('\n');
    throw error;
  }
  return [];
}

const source = { name: 'mine', run: async (): Promise<void> => {} };

t.test('without anything there are defaults', async (t) => {
  const { logger, ...settings } = resolveSettings({}, {}, folder(t));
  t.same(settings, {
    workload: {
      name: 'default',
      namespace: 'default',
      serviceAccount: 'default',
      labels: {},
      trustDomain: 'cluster.local',
      clusterDomain: 'cluster.local',
    },
    identity: { kind: 'none' },
    foreignRoutes: 'allow',
    trustDomainIsDefault: true,
    onFailure: 'response',
    logLevel: 'warn',
    drainDelayMs: 0,
    drainGraceMs: 10_000,
    closeOn: [],
    propagateHeaders: [],
    loadReports: 'asked',
    retries: {
      budget: { percent: 20, intervalMs: 0, minRetryConcurrency: 3 },
      nested: false,
      replayBytes: 65_536,
      overrides: false,
    },
    mirrorCredentials: 'own',
    untrustedConnections: 'refuse',
    policyPaths: 'views',
    jwksRefreshMs: 300_000,
    tokenExpiry: 'optional',
    slowTokenKeys: 'bounded',
    errorFormat: 'text',
    limits: {},
  });
  t.equal(logger.info, silentLogger.info);
  t.not(logger.warn, silentLogger.warn);
});

t.test('without arguments it reads the environment and the folder of the process', async (t) => {
  const cwd = process.cwd();
  process.chdir(folder(t, 'workload: from-file\n'));
  t.teardown(() => process.chdir(cwd));
  t.equal(resolveSettings().workload.name, 'from-file');
});

t.test('every setting can come from the environment', async (t) => {
  const cwd = folder(t);
  const settings = resolveSettings(
    {},
    {
      INMESH_CONFIG: 'mesh',
      INMESH_WORKLOAD: 'reviews-v2',
      INMESH_NAMESPACE: 'bookinfo',
      INMESH_SERVICE_ACCOUNT: 'bookinfo.reviews',
      INMESH_LABELS: ' app = reviews, version=v2,example.com/tier= ',
      INMESH_LOCALITY: 'eu/eu-1/rack7',
      INMESH_TRUST_DOMAIN: 'example.org',
      INMESH_CLUSTER_DOMAIN: 'mesh.local',
      INMESH_OUTBOUND_POLICY: 'REGISTRY_ONLY',
      INMESH_FOREIGN_ROUTES: 'refuse',
      INMESH_IDENTITY: 'ca',
      INMESH_CA_URL: ' https://127.0.0.1:8443 ',
      INMESH_CA_ROOT: 'ca/root.pem',
      INMESH_CA_TOKEN_FILE: '/run/token',
      INMESH_ON_FAILURE: 'throw',
      INMESH_LOG_LEVEL: 'silent',
      INMESH_DRAIN_DELAY_MS: '250',
      INMESH_DRAIN_GRACE_MS: '0',
      INMESH_CLOSE_ON: 'SIGTERM, SIGINT,SIGTERM',
      INMESH_PROPAGATE_HEADERS: 'End-User, x-canary,end-user',
      INMESH_INSTANCE: 'reviews-v2-6f9',
      INMESH_LOAD_REPORTS: 'always',
      INMESH_ERROR_FORMAT: 'problem',
      INMESH_LIMITS: 'maxConnections=100, bodyIdleMs=5000',
      INMESH_RETRY_BUDGET: '12.5',
      INMESH_NESTED_RETRIES: 'allow',
      INMESH_REPLAY_BODY_BYTES: '1000',
      INMESH_OVERRIDE_HEADERS: 'obey',
      INMESH_JWKS_CA: '/etc/issuer.pem',
      INMESH_ACCESS_LOG_FOLDER: '/var/log/shop',
      INMESH_JWKS_REFRESH_MS: '1000',
      INMESH_TOKEN_EXPIRY: 'required',
      INMESH_SLOW_TOKEN_KEYS: 'always',
      INMESH_POLICY_PATHS: 'literal',
      UNRELATED: 'x',
    },
    cwd,
  );
  const { logger, ...plain } = settings;
  t.same(plain, {
    workload: {
      name: 'reviews-v2',
      namespace: 'bookinfo',
      serviceAccount: 'bookinfo.reviews',
      labels: { app: 'reviews', version: 'v2', 'example.com/tier': '' },
      locality: 'eu/eu-1/rack7',
      trustDomain: 'example.org',
      clusterDomain: 'mesh.local',
    },
    configPath: join(cwd, 'mesh'),
    identity: {
      kind: 'ca',
      url: 'https://127.0.0.1:8443',
      trustRoot: join(cwd, 'ca/root.pem'),
      tokenFile: '/run/token',
    },
    outboundPolicy: 'REGISTRY_ONLY',
    foreignRoutes: 'refuse',
    trustDomainIsDefault: false,
    onFailure: 'throw',
    logLevel: 'silent',
    drainDelayMs: 250,
    drainGraceMs: 0,
    closeOn: ['SIGTERM', 'SIGINT'],
    propagateHeaders: ['end-user', 'x-canary'],
    instance: 'reviews-v2-6f9',
    loadReports: 'always',
    retries: {
      budget: { percent: 12.5, intervalMs: 0, minRetryConcurrency: 3 },
      nested: true,
      replayBytes: 1_000,
      overrides: true,
    },
    mirrorCredentials: 'own',
    untrustedConnections: 'refuse',
    jwksCa: '/etc/issuer.pem',
    accessLogFolder: '/var/log/shop',
    jwksRefreshMs: 1_000,
    tokenExpiry: 'required',
    slowTokenKeys: 'always',
    errorFormat: 'problem',
    limits: { maxConnections: 100, bodyIdleMs: 5_000 },
    policyPaths: 'literal',
  });
  t.equal(logger.error, silentLogger.error);
});

t.test('every setting can come from inmesh.yaml', async (t) => {
  const cwd = folder(
    t,
    `
config: ./mesh
workload: reviews-v2
namespace: bookinfo
serviceAccount: reviews
labels: { app: reviews, version: v2 }
trustDomain: example.org
clusterDomain: mesh.local
outboundPolicy: REGISTRY_ONLY
foreignRoutes: refuse
identity: ca
caUrl: https://127.0.0.1:8443
caRoot: ca/root.pem
caToken: join-1
onFailure: throw
logLevel: debug
drainDelayMs: 250
drainGraceMs: 500
closeOn: [SIGTERM]
propagateHeaders: [End-User]
instance: a
loadReports: never
retryBudget: off
nestedRetries: stop
replayBodyBytes: 0
overrideHeaders: obey
mirrorCredentials: all
untrustedConnections: close
jwksCa: issuer.pem
accessLogFolder: logs
jwksRefreshMs: 60000
tokenExpiry: required
slowTokenKeys: always
errorFormat: problem
limits: {maxHeaders: 200}
policyPaths: literal
`,
  );
  const { logger, ...plain } = resolveSettings({}, {}, cwd);
  t.same(plain, {
    workload: {
      name: 'reviews-v2',
      namespace: 'bookinfo',
      serviceAccount: 'reviews',
      labels: { app: 'reviews', version: 'v2' },
      trustDomain: 'example.org',
      clusterDomain: 'mesh.local',
    },
    configPath: join(cwd, 'mesh'),
    identity: { kind: 'ca', url: 'https://127.0.0.1:8443', trustRoot: join(cwd, 'ca/root.pem'), token: 'join-1' },
    outboundPolicy: 'REGISTRY_ONLY',
    foreignRoutes: 'refuse',
    trustDomainIsDefault: false,
    onFailure: 'throw',
    logLevel: 'debug',
    drainDelayMs: 250,
    drainGraceMs: 500,
    closeOn: ['SIGTERM'],
    propagateHeaders: ['end-user'],
    instance: 'a',
    loadReports: 'never',
    retries: { budget: 'unlimited', nested: false, replayBytes: 0, overrides: true },
    mirrorCredentials: 'all',
    untrustedConnections: 'close',
    jwksCa: join(cwd, 'issuer.pem'),
    accessLogFolder: join(cwd, 'logs'),
    jwksRefreshMs: 60_000,
    tokenExpiry: 'required',
    slowTokenKeys: 'always',
    errorFormat: 'problem',
    limits: { maxHeaders: 200 },
    policyPaths: 'literal',
    settingsFile: join(cwd, 'inmesh.yaml'),
  });
  t.ok(logger);
});

t.test('options win over the environment, the environment over inmesh.yaml', async (t) => {
  const cwd = folder(t, 'namespace: file\nserviceAccount: file\nworkload: file\ntrustDomain: file\nlabels: {a: b}\n');
  const env = { INMESH_NAMESPACE: 'env', INMESH_SERVICE_ACCOUNT: 'env', INMESH_WORKLOAD: 'env', INMESH_LABELS: '' };
  const { workload } = resolveSettings({ workload: { namespace: 'option', name: undefined as never } }, env, cwd);
  t.match(workload, {
    namespace: 'option',
    serviceAccount: 'env',
    name: 'env',
    trustDomain: 'file',
    labels: { a: 'b' },
  });
});

t.test('options of every kind are taken', async (t) => {
  const cwd = folder(t, 'config: elsewhere\nidentity: files\ncertDir: certs\nlogLevel: info\n');
  const options: MeshOptions = {
    config: source,
    identity: source,
    outboundPolicy: 'REGISTRY_ONLY',
    onFailure: 'throw',
    drainDelayMs: 1,
    drainGraceMs: 2,
    closeOn: ['SIGHUP'],
    propagateHeaders: ['X-Tenant'],
    instance: 'mine',
    loadReports: 'never',
    logger: silentLogger,
    random: () => 0.5,
  };
  const settings = resolveSettings(options, {}, cwd);
  t.equal(settings.configPath, undefined);
  t.same(settings.identity, { kind: 'none' }, 'the caller has its own');
  t.equal(settings.logger, silentLogger);
  t.match(settings, { outboundPolicy: 'REGISTRY_ONLY', onFailure: 'throw', drainDelayMs: 1, drainGraceMs: 2 });
  t.match(settings, { instance: 'mine', loadReports: 'never' });
  t.same(settings.closeOn, ['SIGHUP']);
  t.same(settings.propagateHeaders, ['x-tenant']);
  t.same(resolveSettings({ identity: false }, {}, cwd).identity, { kind: 'none' });
  t.equal(resolveSettings({ config: 'mesh' }, {}, cwd).configPath, join(cwd, 'mesh'));
});

t.test('paths are relative to where they are written', async (t) => {
  const cwd = folder(t);
  mkdirSync(join(cwd, 'settings'));
  writeFileSync(join(cwd, 'settings/prod.yaml'), 'config: mesh\ncertDir: ../certs\n');
  const settings = resolveSettings({}, { INMESH_SETTINGS: 'settings/prod.yaml' }, cwd);
  t.equal(settings.configPath, join(cwd, 'settings/mesh'));
  t.same(settings.identity, { kind: 'files', directory: join(cwd, 'certs') });
  t.equal(settings.settingsFile, join(cwd, 'settings/prod.yaml'));
});

t.test('an empty inmesh.yaml says nothing', async (t) => {
  for (const yaml of ['', '# nothing\n', '---\n']) {
    t.equal(resolveSettings({}, {}, folder(t, yaml)).workload.name, 'default', JSON.stringify(yaml));
  }
});

t.test('names fall back on what Kubernetes manifests set, and on each other', async (t) => {
  const cwd = folder(t, 'namespace: file\n');
  const env = { POD_NAMESPACE: 'pod', SERVICE_ACCOUNT: 'web' };
  t.match(resolveSettings({}, env, cwd).workload, { namespace: 'pod', serviceAccount: 'web', name: 'web' });
  const more = { ...env, INMESH_NAMESPACE: 'mine', INMESH_LABELS: 'app=shop' };
  t.match(resolveSettings({}, more, cwd).workload, { namespace: 'mine', name: 'shop' });
  t.same(refusal({}, { SERVICE_ACCOUNT: 'a@b.iam' }, cwd), [
    'SERVICE_ACCOUNT: must be a name of lower-case letters, digits, "-" and ".", got "a@b.iam"; ' +
      'INMESH_SERVICE_ACCOUNT overrides it',
  ]);
  t.equal(resolveSettings({}, { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, cwd).drainDelayMs, 5_000);
});

t.test('what names a CA or a folder says which identity is meant', async (t) => {
  const ca = { INMESH_CA_URL: 'https://ca', INMESH_CA_ROOT: '/root.pem', INMESH_CA_TOKEN: 't' };
  const rows: [string, Env, string | undefined, string[]][] = [
    ['ca', ca, undefined, []],
    ['files', { INMESH_CERT_DIR: '/certs' }, undefined, []],
    ['files', { INMESH_CERT_DIR: '/certs' }, 'caUrl: https://ca', []],
    ['ca', ca, 'certDir: /certs', []],
    ['none', { ...ca, INMESH_IDENTITY: 'none' }, undefined, []],
    ['ca', { INMESH_CA_TOKEN_FILE: '/t' }, 'caUrl: https://ca\ncaRoot: r.pem\ncaToken: lower', []],
    [
      '',
      { ...ca, INMESH_CERT_DIR: '/certs' },
      undefined,
      ['INMESH_CA_URL and INMESH_CERT_DIR: which of the two is meant? Set identity (INMESH_IDENTITY) to ca or files'],
    ],
    [
      '',
      { INMESH_IDENTITY: 'ca' },
      undefined,
      [
        'INMESH_CA_URL (caUrl in inmesh.yaml): is missing, because identity is ca',
        'INMESH_CA_ROOT (caRoot in inmesh.yaml): is missing, because identity is ca',
        'INMESH_CA_TOKEN_FILE (caTokenFile in inmesh.yaml): is missing, because identity is ca (or caToken, INMESH_CA_TOKEN)',
      ],
    ],
    ['files', { INMESH_CERT_LAYOUT: 'gke' }, undefined, []],
    ['files', { INMESH_CERT_DIR: '/certs', INMESH_CRL_FILE: '/crl/ca-crl.pem' }, undefined, []],
    ['', { ...ca, INMESH_CRL_FILE: '/crl' }, undefined, ['INMESH_CRL_FILE: is for identity files, and identity is ca']],
    [
      '',
      { INMESH_IDENTITY: 'none' },
      'crlFile: a.pem',
      ['inmesh.yaml:1:10: crlFile: is for identity files, and identity is none'],
    ],
    ['files', { INMESH_CERT_DIR: '/certs', INMESH_CERT_LAYOUT: 'cert-manager' }, undefined, []],
    [
      '',
      { ...ca, INMESH_CERT_LAYOUT: 'gke' },
      undefined,
      [
        'INMESH_CA_URL and INMESH_CERT_LAYOUT: which of the two is meant? Set identity (INMESH_IDENTITY) to ca or files',
      ],
    ],
    [
      '',
      { INMESH_CERT_LAYOUT: 'kubernetes' },
      undefined,
      ['INMESH_CERT_LAYOUT: must be istio, istio-credentials, gke or cert-manager, got "kubernetes"'],
    ],
    [
      '',
      {},
      'identity: files',
      [
        'INMESH_CERT_DIR (certDir in inmesh.yaml): is missing, because identity is files (or certLayout, INMESH_CERT_LAYOUT)',
      ],
    ],
    [
      '',
      { ...ca, INMESH_CA_TOKEN_FILE: '/t' },
      undefined,
      ['INMESH_CA_TOKEN_FILE: must not be there together with INMESH_CA_TOKEN'],
    ],
    [
      '',
      {},
      'caUrl: https://ca\ncertDir: /certs\n',
      [
        'inmesh.yaml:1:8: caUrl and inmesh.yaml:2:10: certDir: which of the two is meant? ' +
          'Set identity (INMESH_IDENTITY) to ca or files',
      ],
    ],
  ];
  for (const [kind, env, yaml, problems] of rows) {
    const cwd = folder(t, yaml);
    const name = JSON.stringify([env, yaml]);
    t.same(refusal({}, env, cwd), problems, name);
    if (kind !== '') t.equal(resolveSettings({}, env, cwd).identity.kind, kind, name);
  }
});

t.test('a wrong variable is refused by name, value and what is allowed', async (t) => {
  const rows: [string, string, string][] = [
    ['INMESH_NAMESPACE', 'Book_Info', 'a DNS label, such as bookinfo, got "Book_Info"'],
    ['INMESH_WORKLOAD', 'a b', 'a name of letters, digits, ".", "_" and "-", got "a b"'],
    ['INMESH_TRUST_DOMAIN', 'Example.org', 'a SPIFFE trust domain, such as cluster.local, got "Example.org"'],
    ['INMESH_CLUSTER_DOMAIN', 'a..b', 'a DNS name, such as cluster.local, got "a..b"'],
    ['INMESH_LOCALITY', 'eu/*', 'region/zone/subzone, of which zone and subzone may be absent, got "eu/*"'],
    ['INMESH_LOCALITY', 'eu//a', 'region/zone/subzone, of which zone and subzone may be absent, got "eu//a"'],
    ['INMESH_OUTBOUND_POLICY', 'allow', 'ALLOW_ANY or REGISTRY_ONLY, got "allow"'],
    ['INMESH_IDENTITY', 'spire', 'ca, files or none, got "spire"'],
    ['INMESH_CA_URL', 'http://ca', 'an https URL, got "http://ca"'],
    ['INMESH_CA_URL', 'ca:8443', 'an https URL, got "ca:8443"'],
    ['INMESH_CA_TOKEN', 'two words', 'a token'],
    ['INMESH_CONFIG', 'a\0b', 'the path of a file or folder, got "a\\u0000b"'],
    ['INMESH_ON_FAILURE', 'crash', 'response or throw, got "crash"'],
    ['INMESH_LOG_LEVEL', 'WARN', 'debug, info, warn, error or silent, got "WARN"'],
    ['INMESH_DRAIN_DELAY_MS', '5s', 'a whole number of milliseconds, got "5s"'],
    ['INMESH_DRAIN_GRACE_MS', '99999999999', 'a whole number of milliseconds, got "99999999999"'],
  ];
  for (const [variable, value, problem] of rows) {
    t.same(refusal({}, { [variable]: value }, folder(t)), [`${variable}: must be ${problem}`]);
  }
  for (const value of ['app', '=x', 'app=a,app=b', 'app=a b', 'app=a,', '/x=y', 'a/b/c=d']) {
    t.match(
      refusal({}, { INMESH_LABELS: value }, folder(t)),
      [/^INMESH_LABELS: must be Kubernetes labels: name=value/],
      value,
    );
  }
  for (const value of ['SIGKILL', 'TERM', 'SIGTERM,', 'toString']) {
    t.match(refusal({}, { INMESH_CLOSE_ON: value }, folder(t)), [/^INMESH_CLOSE_ON: must be names of signals/], value);
  }
});

t.test('an unknown variable is refused, one that Kubernetes sets for a Service is not', async (t) => {
  t.same(refusal({}, { INMESH_NAMESPCE: 'x' }, folder(t)), [
    'INMESH_NAMESPCE: is not a known variable; did you mean INMESH_NAMESPACE?',
  ]);
  t.match(refusal({}, { INMESH_QUUX_FROBNICATE: '1' }, folder(t)), [/known: INMESH_SETTINGS, INMESH_CONFIG, /]);
  const kubernetes = {
    INMESH_CA_SERVICE_HOST: '10.0.0.1',
    INMESH_CA_SERVICE_PORT: '8443',
    INMESH_CA_SERVICE_PORT_HTTPS_API: '8443',
    INMESH_CA_PORT: 'tcp://10.0.0.1:8443',
    INMESH_CA_PORT_8443_TCP: 'tcp://10.0.0.1:8443',
    INMESH_CA_PORT_8443_TCP_PROTO: 'tcp',
    INMESH_CA_PORT_8443_TCP_PORT: '8443',
    INMESH_CA_PORT_8443_TCP_ADDR: '10.0.0.1',
    INMESH_SERVICE_HOST: '10.0.0.1',
    INMESH_PORT: 'tcp://10.0.0.1:1',
  };
  t.same(refusal({}, kubernetes, folder(t)), []);
  for (const { variable } of Object.values(settingsTable)) t.notOk(isKubernetesServiceVariable(variable), variable);
});

t.test('inmesh.yaml is refused with file, line and column', async (t) => {
  const rows: [string, string | RegExp][] = [
    [
      'config: ./mesh\noutboundPolicy: allow\n',
      'inmesh.yaml:2:17: outboundPolicy: must be ALLOW_ANY or REGISTRY_ONLY, got "allow"',
    ],
    ['workload: a\nnamspace: b\n', 'inmesh.yaml:2:1: namspace: is not a known setting; did you mean namespace?'],
    ['namespace: 7\n', 'inmesh.yaml:1:12: namespace: must be a DNS label, such as bookinfo, got 7'],
    ['namespace:\n', /^inmesh\.yaml:1:1\d?: namespace: must be a DNS label, such as bookinfo, got null$/],
    ['namespace: " "\n', 'inmesh.yaml:1:12: namespace: must be a DNS label, such as bookinfo, got " "'],
    ['labels: app=reviews\n', /^inmesh\.yaml:1:9: labels: must be Kubernetes labels: .*, got "app=reviews"$/],
    ['labels: { version: 1 }\n', /^inmesh\.yaml:1:9: labels: must be .*, got \{"version":1\}$/],
    ['labels: [a]\n', /^inmesh\.yaml:1:9: labels: must be /],
    [
      'limits: {maxHeaders: 0}\n',
      /^inmesh\.yaml:1:9: limits: must be limits of inbound connections: .*, got \{"maxHeaders":0\}$/,
    ],
    ['limits: {maxHeader: 100}\n', /^inmesh\.yaml:1:9: limits: must be /],
    ['drainDelayMs: "5"\n', 'inmesh.yaml:1:15: drainDelayMs: must be a whole number of milliseconds, got "5"'],
    ['drainDelayMs: 1.5\n', 'inmesh.yaml:1:15: drainDelayMs: must be a whole number of milliseconds, got 1.5'],
    [
      'propagateHeaders: [host]\n',
      /^inmesh\.yaml:1:19: propagateHeaders: must be names of headers, .*, got \["host"\]$/,
    ],
    ['closeOn: SIGTERM\n', /^inmesh\.yaml:1:10: closeOn: must be names of signals .*, got "SIGTERM"$/],
    ['caToken: 123456\n', 'inmesh.yaml:1:10: caToken: must be a token'],
    ['- config\n', 'inmesh.yaml:1:1: must be a map of settings, got ["config"]'],
    ['config: a\n---\nconfig: b\n', 'inmesh.yaml: must hold one document, got 2'],
    ['config: a\nconfig: b\n', /^inmesh\.yaml:2:1: config: is there twice/],
    ['config: [\n', /^inmesh\.yaml:/],
    ['__proto__: x\n', /^inmesh\.yaml:1:1: __proto__: is not a known setting; /],
  ];
  for (const [yaml, problem] of rows) {
    const [first, ...more] = refusal({}, {}, folder(t, yaml));
    if (typeof problem === 'string') t.equal(first, problem);
    else t.match(first, problem);
    t.same(more, [], yaml);
  }
});

t.test('several mistakes are told at once', async (t) => {
  const cwd = folder(t, 'logLevel: loud\n');
  t.equal(refusal({ onFailure: 'crash' }, { INMESH_IDENTITY: 'x' }, cwd).length, 3);
});

t.test('a settings file that is named must be there, and one that is there must be readable', async (t) => {
  const cwd = folder(t);
  t.match(refusal({}, { INMESH_SETTINGS: 'gone.yaml' }, cwd), [/^INMESH_SETTINGS: cannot be read: ENOENT/]);
  mkdirSync(join(cwd, 'inmesh.yaml'));
  t.match(refusal({}, {}, cwd), [/^inmesh\.yaml: cannot be read: EISDIR/]);
});

t.test('wrong and unknown options are refused for callers without types', async (t) => {
  const rows: [unknown, string | RegExp][] = [
    [{ confg: 'x' }, 'option confg: is not a known option; did you mean config?'],
    [{ config: 7 }, 'option config: must be the path of a file or folder, or a ConfigSource, got 7'],
    [{ config: '' }, /^option config: must be the path/],
    [{ identity: true }, 'option identity: must be an IdentitySource or false, got true'],
    [{ workload: 'reviews' }, 'option workload: must be an object, got "reviews"'],
    [{ workload: { namespace: 'A' } }, 'option workload.namespace: must be a DNS label, such as bookinfo, got "A"'],
    [{ workload: { labels: { app: 1 } } }, /^option workload\.labels: must be Kubernetes labels: .*, got \{"app":1\}$/],
    [{ workload: { names: 'x' } }, 'option workload.names: is not a known option; did you mean name?'],
    [{ outboundPolicy: 'ANY' }, 'option outboundPolicy: must be ALLOW_ANY or REGISTRY_ONLY, got "ANY"'],
    [
      { limits: { maxConnections: Infinity } },
      /^option limits: must be limits of inbound connections: .*maxStreams from 1 to 10000/,
    ],
    [{ limits: { toString: 1 } }, /^option limits: must be /],
    [{ onFailure: null }, 'option onFailure: must be response or throw, got null'],
    [{ drainGraceMs: -1 }, 'option drainGraceMs: must be a whole number of milliseconds, got -1'],
    [{ propagateHeaders: ['x-envoy-attempt-count'] }, /^option propagateHeaders: must be names of headers/],
    [{ closeOn: ['SIGSTOP'] }, /^option closeOn: must be names of signals/],
    [{ logger: { info() {} } }, /^option logger: must be an object with the methods debug, info, warn and error, got /],
    [{ clock: {} }, 'option clock: must be a Clock, got {}'],
    [{ clock: new Date(0) }, 'option clock: must be a Clock, got "1970-01-01T00:00:00.000Z"'],
    [{ random: 4 }, 'option random: must be a function, got 4'],
    [{ constructor: 1 }, /^option constructor: is not a known option/],
    [null, 'options: must be an object, got null'],
    ['mesh', 'options: must be an object, got "mesh"'],
  ];
  for (const [options, problem] of rows) {
    const problems = refusal(options, {}, folder(t));
    t.equal(problems.length, 1, JSON.stringify(options));
    if (typeof problem === 'string') t.equal(problems[0], problem);
    else t.match(problems[0], problem);
  }
});

t.test('a token is never repeated', async (t) => {
  const secret = 'hunter2 hunter2';
  for (const problems of [
    refusal({}, { INMESH_CA_TOKEN: secret }, folder(t)),
    refusal({}, {}, folder(t, `caToken: ${secret}\n`)),
    refusal({}, { INMESH_CA_TOKEN: 'hunter2', INMESH_CA_TOKEN_FILE: '/t', INMESH_CA_URL: 'https://ca' }, folder(t)),
  ]) {
    t.ok(problems.length > 0);
    t.notMatch(problems.join(), /hunter2/);
  }
});

t.test('the documentation has one row for each setting, in the order of the table', async (t) => {
  const rows = readFileSync(`${root}docs/reference/settings.md`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .slice(1)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  t.same(
    rows.map(([key, variable]) => [key, variable]),
    Object.entries(settingsTable).map(([key, { variable }]) => [`\`${key}\``, `\`${variable}\``]),
  );
  for (const [key, , , , meaning, ...more] of rows) {
    t.ok((meaning ?? '').length > 10, `${key} is explained`);
    t.same(more, [], `${key} has five cells`);
  }
});
