import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { type Authority, createAuthority } from '@inmesh/ca';
import { createCsr, generateIdentityKey, readPemCertificates } from 'inmesh/identity';
import type { Test } from 'tap';
import { csrOf } from '../../packages/ca/test/support/csr-builder.ts';
import { toPem } from '../support/certificates.ts';

/** Everything that one authority makes. PEM. */
export interface MadeByAuthority {
  /** `rsa-3072`, `p-256 without name constraints` … */
  readonly name: string;
  readonly roots: readonly string[];
  /** Chains, leaf first, by what they are. */
  readonly workloads: Readonly<Record<string, readonly string[]>>;
  readonly servers: Readonly<Record<string, readonly string[]>>;
  /** Revocation lists with something on them, of every authority. */
  readonly crls: readonly string[];
  /** A chain that is on a list. */
  readonly revoked: readonly string[];
}

const workload = 'spiffe://cluster.local/ns/shop/sa/web';

/** Authorities of every kind, and of each what it makes before and while its root is exchanged. */
export function everyAuthority(t: Test): readonly MadeByAuthority[] {
  const dir = t.testdir({});
  const kinds = [
    { keyType: 'p-256' },
    { keyType: 'p-384' },
    { keyType: 'rsa-2048' },
    { keyType: 'rsa-3072' },
    { keyType: 'p-256', nameConstraints: false },
    { keyType: 'p-256', trustDomain: `${'long-name.'.repeat(8)}test` },
  ] as const;
  return kinds.map((options, i) => {
    const authority = createAuthority({ dir: join(dir, `ca-${i}`), ...options });
    const name = Object.values(options).join(' ');
    return made(authority, name);
  });
}

function made(authority: Authority, name: string): MadeByAuthority {
  const id = workload.replace('cluster.local', authority.trustDomain);
  const leaves = (): Record<string, readonly string[]> => ({
    'P-256': sign(authority, id, generateIdentityKey()),
    'P-384': sign(authority, id, generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
    'RSA 2048': sign(authority, id, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
    'a long name': sign(authority, `${id}/${'x'.repeat(1_500)}`, generateIdentityKey()),
  });
  const servers = (): Record<string, readonly string[]> => ({
    'host and address': chainOf(authority.issueServer(['ca.mesh.test', '127.0.0.1', '::1']).certificateChainPem),
  });
  const before = leaves();
  const revoked = sign(authority, `${id}-gone`, generateIdentityKey());
  authority.revoke({ spiffeId: `${id}-gone`, reason: 'keyCompromise' });
  const serversBefore = servers();
  authority.rotation.prepare();
  authority.rotation.activate({ force: true });
  const after = Object.entries(leaves()).map(([kind, chain]) => [`${kind}, root being exchanged`, chain]);
  const roots = authority.trustBundles.get(authority.trustDomain) ?? [];
  return {
    name,
    roots,
    workloads: { ...before, ...(Object.fromEntries(after) as Record<string, readonly string[]>) },
    servers: serversBefore,
    crls: authority.crls(),
    revoked,
  };
}

function sign(authority: Authority, id: string, key: KeyObject): readonly string[] {
  const csr = key.asymmetricKeyType === 'rsa' ? toPem(csrOf({ key }), 'CERTIFICATE REQUEST') : createCsr(id, key);
  return chainOf(authority.signCsr(csr, id).certificateChainPem);
}

function chainOf(pem: string): readonly string[] {
  return readPemCertificates(pem, 'chain').map((certificate) => certificate.toString());
}
