import { type ChildProcess, spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Test } from 'tap';
import { keyPem, makeCertificate, makeKey, type TestSigner, toPem } from '../../support/certificates.ts';
import { freePorts } from '../../support/free-ports.ts';
import { startPeer } from '../peers.ts';

const serverName = 'istiod.istio-system.svc';
const issuer = 'https://kubernetes.test';

/** A running istiod with a certificate authority that an operator has plugged in. */
export interface ControlPlane {
  readonly address: string;
  readonly serverName: string;
  /** File with the root, as the config map `istio-ca-root-cert` has it. */
  readonly rootFile: string;
  readonly rootPem: string;
  /** A folder for files of the test. */
  readonly folder: string;
  /** A file with a token of Kubernetes' form. */
  tokenFile(name: string, claims?: Readonly<Record<string, unknown>>, key?: KeyObject): string;
  /** Adds a root to those that istiod hands out, as the first step of exchanging it. */
  addRoot(pem: string): void;
  /** Starts Istio's agent for a token, and says where it serves SDS. */
  agent(tokenFile: string): Promise<string>;
}

/** Starts one that ends with the test. Tokens are checked against a key of the test, by JWT_RULE. */
export async function startIstiod(t: Test, program: string): Promise<ControlPlane> {
  const folder = mkdtempSync(join(tmpdir(), 'istiod-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const tokenKey = makeTokenKey();
  const keys = createServer((_request, response) => {
    const jwk = { ...createPublicKey(tokenKey).export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' };
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }));
  }).listen(0, '127.0.0.1');
  await once(keys, 'listening');
  t.teardown(() => keys.close());

  const plugged = makePlugged();
  const ca = join(folder, 'cacerts');
  mkdirSync(ca);
  mkdirSync(join(folder, 'config'));
  const put = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  for (const [name, text] of Object.entries(plugged.files)) put(join('cacerts', name), text);
  const rootFile = put('root-cert.pem', plugged.rootPem);
  const mesh = put('mesh.yaml', 'trustDomain: cluster.local\n');
  const [port = 0] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const jwksUri = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/keys`;
  await startPeer(t, program, ['istiod', address, join(folder, 'config'), mesh], {
    port,
    env: {
      ROOT_CA_DIR: ca,
      ISTIO_MULTIROOT_MESH: 'true',
      JWT_RULE: JSON.stringify({ issuer, jwks_uri: jwksUri, audiences: ['istio-ca'] }),
    },
  });

  return {
    address,
    serverName,
    rootFile,
    rootPem: plugged.rootPem,
    folder,
    tokenFile: (name, claims = {}, key = tokenKey) => put(`token-${name}`, tokenFor(name, claims, key)),
    addRoot: (pem) => void put('cacerts/root-cert.pem', plugged.rootPem + pem),
    async agent(tokenFile) {
      const home = mkdtempSync(join(tmpdir(), 'agent-'));
      t.teardown(() => rmSync(home, { recursive: true, force: true }));
      const child = spawn(program, ['agent', address, rootFile, tokenFile], { cwd: home, stdio: 'ignore' });
      t.teardown(() => ended(child));
      const socket = join(home, 'var/run/secrets/workload-spiffe-uds/socket');
      for (let i = 0; i < 1_200 && !existsSync(socket); i++) await wait(50);
      return socket;
    },
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** A key for tokens: RSA, the one kind that istiod takes outside of Kubernetes. */
export function makeTokenKey(): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
}

/** A projected token of a service account of the namespace shop. */
function tokenFor(serviceAccount: string, claims: Readonly<Record<string, unknown>>, key: KeyObject): string {
  const now = Math.floor(Date.now() / 1_000);
  const sub = `system:serviceaccount:shop:${serviceAccount}`;
  const payload = { iss: issuer, sub, aud: ['istio-ca'], iat: now, exp: now + 3_600, ...claims };
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'RS256', kid: 'one', typ: 'JWT' })}.${encode(payload)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}\n`;
}

/** The files of the secret `cacerts`: an intermediate that signs, below a root that is kept elsewhere. */
function makePlugged(): { readonly rootPem: string; readonly files: Readonly<Record<string, string>> } {
  const now = Date.now();
  const life = { notBefore: now - 86_400_000, notAfter: now + 10 * 86_400_000 };
  const root: TestSigner = { name: 'the root', key: makeKey() };
  const rootPem = toPem(makeCertificate(root.key, { name: root.name, ca: true, ...life }));
  const key = makeKey();
  const caPem = toPem(makeCertificate(key, { name: 'istiod', ca: true, pathLength: 0, ...life }, root));
  const files = {
    'ca-cert.pem': caPem,
    'ca-key.pem': keyPem(key),
    'root-cert.pem': rootPem,
    'cert-chain.pem': caPem + rootPem,
  };
  return { rootPem, files };
}
