import { isIP } from 'node:net';
import { createSecureContext, type PeerCertificate, rootCertificates, checkServerIdentity as tlsCheck } from 'node:tls';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import type { SourceCredentials as Credentials } from 'inmesh/config';
import { MeshError, meshCiphers, parseSpiffeId, readBoundedFile, readPemCertificates } from 'inmesh/identity';
import { hostOf, type XdsServer, type XdsTls } from '../setup/server.ts';

/** Largest file with a token or certificates. */
const maxBytes = 1_048_576;

const istioRoot = '/var/run/secrets/istio/root-cert.pem';

/** What one stream connects with. */
export interface Access {
  readonly channel: ChannelCredentials;
  /** Name that TLS checks and HTTP/2 names; absent: that of the address. */
  readonly serverName: string | undefined;
  readonly token: string | undefined;
}

/**
 * Reads what a connection needs, anew for each: roots, certificates and tokens are exchanged under us.
 *
 * @param held the mesh's own identity, when there is one
 * @throws MeshError that never has a character of a token or a key
 */
export async function openAccess(server: XdsServer, held: () => Credentials | undefined): Promise<Access> {
  const token = server.tokenFile === undefined ? undefined : await readToken(server.tokenFile);
  if (server.tls === false) return { channel: credentials.createInsecure(), serverName: undefined, token };
  const tls = server.tls ?? {};
  const own = tls.identity === true ? held() : undefined;
  if (tls.identity === true && own === undefined) throw trouble('the mesh has no certificate yet to show');
  const context = createSecureContext({
    ca: await readRoots(tls, own),
    ciphers: meshCiphers,
    minVersion: 'TLSv1.2',
    ...(await ownCertificate(tls, own)),
  });
  const host = hostOf(server.address, 'server.address');
  const name = tls.serverName ?? (host === 'localhost' ? 'istiod.istio-system.svc' : host);
  const channel = credentials.createFromSecureContext(context, {
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => checkName(name, certificate),
  });
  return { channel, serverName: isIP(name) === 0 ? name : undefined, token };
}

async function ownCertificate(
  { certificateFile, keyFile }: XdsTls,
  own: Credentials | undefined,
): Promise<{ readonly cert?: string; readonly key?: string }> {
  if (own !== undefined) return { cert: own.certificateChainPem, key: own.privateKeyPem };
  if (certificateFile === undefined || keyFile === undefined) return {};
  return { cert: await readText(certificateFile, 'the certificate'), key: await readText(keyFile, 'the key') };
}

async function readRoots({ trustRoot }: XdsTls, own: Credentials | undefined): Promise<string[]> {
  if (trustRoot === 'SYSTEM') return [...rootCertificates];
  if (trustRoot === undefined && own !== undefined) {
    return [...(own.trustBundles.get(parseSpiffeId(own.spiffeId).trustDomain) ?? [])];
  }
  const given = trustRoot ?? istioRoot;
  const text = given.includes('-----BEGIN') ? given : await readText(given, 'the root');
  return readPemCertificates(text, 'the root of the control plane').map(String);
}

async function readToken(path: string): Promise<string> {
  const token = (await readText(path, 'the token')).trim();
  // Anything else would be refused by gRPC, with the whole of it in the message.
  if (!/^[\x21-\x7e]{1,65536}$/.test(token)) throw trouble(`the token cannot be used: ${path} holds no token`);
  return token;
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readBoundedFile(path, maxBytes);
  } catch (cause) {
    throw trouble(`${what} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** Names of the kinds DNS and IP address only: a common name is no name. */
function checkName(name: string, certificate: PeerCertificate): Error | undefined {
  if (!/(^|, )(DNS|IP Address):/.test(certificate.subjectaltname ?? '')) {
    return new Error(`the certificate of the control plane has no DNS name, expected ${name}`);
  }
  return tlsCheck(name, certificate);
}

function trouble(message: string): MeshError {
  return new MeshError('ERR_MESH_CONTROL_PLANE', message);
}
