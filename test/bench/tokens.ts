import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import type { BenchTokens } from './variant.ts';

const issuer = 'https://issuer.example';

/** Resources that accept tokens of a new key, and demand one; and that key, PEM. */
export function tokenPolicies(): { readonly policies: readonly object[]; readonly key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256' }] });
  const apiVersion = 'security.istio.io/v1';
  const metadata = { name: 'tokens', namespace: 'bench' };
  const operation = { methods: ['GET'], paths: ['/hello'] };
  return {
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
    policies: [
      {
        apiVersion,
        kind: 'RequestAuthentication',
        metadata,
        spec: { jwtRules: [{ issuer, audiences: ['bench'], jwks }] },
      },
      {
        apiVersion,
        kind: 'AuthorizationPolicy',
        metadata,
        spec: { rules: [{ from: [{ source: { requestPrincipals: [`${issuer}/*`] } }], to: [{ operation }] }] },
      },
    ],
  };
}

/** The lines of a load's requests: tokens as an OpenID provider makes them, about 700 characters. */
export function tokenLines({ fresh, key }: BenchTokens): () => string {
  const privateKey = createPrivateKey(key);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const header = part({ alg: 'ES256', kid: 'k1', typ: 'JWT' });
  const claims = {
    iss: issuer,
    sub: 'ab3f2c9e-7f5d-4c1e-9a51-0d5b7c3e8f10',
    aud: ['bench', 'another-service'],
    exp: 4_000_000_000,
    iat: 1_700_000_000,
    scope: 'openid profile email orders:read orders:write',
    email: 'ann@example.com',
    realm_access: { roles: ['offline_access', 'uma_authorization', 'customer', 'reviewer'] },
  };
  let count = 0;
  const line = (): string => {
    const signed = `${header}.${part({ ...claims, jti: `${process.pid}-${count++}` })}`;
    const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `Authorization: Bearer ${signed}.${signature.toString('base64url')}\r\n`;
  };
  if (fresh) return line;
  const one = line();
  return () => one;
}
