// What the rows about mutual TLS share: certificates in a folder, and servers to call.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { type Credentials, credentialsOf } from '../../src/exports/identity.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { makeAuthority } from '../support/certificates.ts';
import { answerRaw } from './raw-server.ts';

/** Kinds of keys of leaves; authorities have P-256. */
export const keyKinds = ['p256', 'rsa2048'] as const;
export type KeyKind = (typeof keyKinds)[number];

/** Where the credentials are, and the ports of servers that ask for a certificate, each with a leaf of its kind. */
export interface SecureTarget {
  readonly folder: string;
  /** Without session tickets, as the mesh serves. */
  readonly ports: Readonly<Record<KeyKind, number>>;
  /** With session tickets, as Node does unless it is told not to. */
  readonly ticketPorts: Readonly<Record<KeyKind, number>>;
}

const makers: Readonly<Record<KeyKind, () => KeyObject>> = {
  p256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  rsa2048: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey,
};

/** Makes credentials of a client and a server for both kinds of keys. Returns how to remove them. */
export function writeCredentials(): { readonly folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const authority = makeAuthority();
  writeFileSync(join(folder, 'root.pem'), authority.rootPem);
  for (const kind of keyKinds) {
    for (const name of ['client', 'server']) {
      const spiffeId = `spiffe://cluster.local/ns/bench/sa/${name}`;
      const issued = authority.issue(spiffeId, { subjectKey: makers[kind]() });
      writeFileSync(join(folder, `${name}-${kind}.pem`), issued.certificateChainPem);
      writeFileSync(join(folder, `${name}-${kind}-key.pem`), issued.privateKeyPem, { mode: 0o600 });
    }
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** What {@link writeCredentials} wrote. */
export function readCredentials(folder: string, name: 'client' | 'server', kind: KeyKind): Credentials {
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
  return credentialsOf({
    certificateChainPem: read(`${name}-${kind}.pem`),
    privateKeyPem: read(`${name}-${kind}-key.pem`),
    trustBundles: new Map([['cluster.local', [read('root.pem')]]]),
  });
}

/** A server that demands a client certificate and answers every request alike, as cheaply as Node can. */
async function secureServer(folder: string, kind: KeyKind, tickets: boolean): Promise<Server> {
  const options = meshTlsOptions(readCredentials(folder, 'server', kind));
  const server = createServer(
    {
      ...options,
      ...(tickets ? { secureOptions: 0 } : {}),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
    },
    answerRaw,
  );
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** Starts all servers of {@link SecureTarget}. */
export async function startSecureTarget(): Promise<SecureTarget & { close(): void }> {
  const { folder, remove } = writeCredentials();
  const servers: Server[] = [];
  const start = async (tickets: boolean): Promise<Record<KeyKind, number>> => {
    const ports: Partial<Record<KeyKind, number>> = {};
    for (const kind of keyKinds) {
      const server = await secureServer(folder, kind, tickets);
      servers.push(server);
      ports[kind] = (server.address() as AddressInfo).port;
    }
    return ports as Record<KeyKind, number>;
  };
  return {
    folder,
    ports: await start(false),
    ticketPorts: await start(true),
    close: () => {
      for (const server of servers) server.close();
      remove();
    },
  };
}
