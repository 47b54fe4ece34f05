import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';
import { createAuthority } from '../../src/index.ts';

/** A key that signs tokens. */
export interface TokenKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

/** Makes a key, as an API server has one. */
export async function tokenKey(kid: string, alg = 'ES256'): Promise<TokenKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

/** The claims of a projected token of `shop/web`, good for an hour from `now` (milliseconds). */
export function podClaims(issuer: string, now: number): JWTPayload & Record<string, unknown> {
  const seconds = Math.floor(now / 1_000);
  return {
    iss: issuer,
    sub: 'system:serviceaccount:shop:web',
    aud: ['istio-ca'],
    iat: seconds,
    nbf: seconds,
    exp: seconds + 3_600,
    'kubernetes.io': {
      namespace: 'shop',
      pod: { name: 'web-1', uid: '1' },
      serviceaccount: { name: 'web', uid: '2' },
    },
  };
}

/** Signs claims as they are. */
export function signToken(key: TokenKey, claims: object, header: object = {}): Promise<string> {
  return new SignJWT(claims as JWTPayload)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);
}

/** An issuer that serves discovery and keys over HTTPS. */
export interface TokenIssuer {
  readonly url: string;
  readonly rootPem: string;
  /** What is served, by path; a function is asked each time. A number is a status. */
  readonly pages: Map<string, unknown>;
  /** Every request: its path and its authorization. */
  readonly asked: { readonly path: string; readonly authorization: string | undefined }[];
  keys(...keys: readonly TokenKey[]): void;
}

/** Starts a {@link TokenIssuer} that ends with the test. */
export async function startIssuer(t: { teardown(action: () => void): unknown }): Promise<TokenIssuer> {
  const authority = createAuthority();
  const { certificateChainPem: cert, privateKeyPem: key } = authority.issueServer(['127.0.0.1']);
  const pages = new Map<string, unknown>();
  const asked: { path: string; authorization: string | undefined }[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    const path = request.url ?? '';
    asked.push({ path, authorization: request.headers.authorization });
    const page = pages.get(path) ?? 404;
    if (typeof page === 'number') response.writeHead(page, { location: '/elsewhere' }).end();
    else response.end(typeof page === 'string' ? page : JSON.stringify(page));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  pages.set('/.well-known/openid-configuration', { issuer: url, jwks_uri: `${url}/openid/v1/jwks` });
  return {
    url,
    rootPem: authority.rootPem,
    pages,
    asked,
    keys: (...keys) => {
      pages.set('/openid/v1/jwks', { keys: keys.map(({ jwk }) => jwk) });
    },
  };
}
