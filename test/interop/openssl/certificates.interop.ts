// Certificates, revocation lists and requests of ours, read by openssl.
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, generateIdentityKey } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { everyAuthority, type MadeByAuthority } from '../ca-certificates.ts';
import { openssl, withOpenssl } from './openssl.ts';

let made: readonly MadeByAuthority[] | undefined;
/** Made once: RSA keys take their time. */
const authorities = (t: Test): readonly MadeByAuthority[] => (made ??= everyAuthority(t));

/** What openssl says of each certificate, by the name of its file: `OK`, or why not. */
type Verify = (names: readonly string[], ...args: readonly string[]) => Readonly<Record<string, string>>;

/** Writes the certificates of an authority into files and verifies them there. */
function verifier(t: Test, { crls, revoked, roots, servers, workloads }: MadeByAuthority) {
  const folder = t.testdir({});
  const write = (name: string, pems: readonly string[]): string => {
    writeFileSync(join(folder, name), pems.join(''));
    return name;
  };
  const chains = (of: Readonly<Record<string, readonly string[]>>): readonly string[] =>
    Object.entries(of).map(([what, [leaf = '']]) => write(what, [leaf]));
  const all = [...Object.values(workloads), ...Object.values(servers), revoked];
  const above = write('above', [...new Set(all.flatMap(([, ...issuers]) => issuers))]);
  const only = ['-x509_strict', '-no-CAfile', '-no-CApath', '-no-CAstore'];
  const run = (
    trusted: string,
    names: readonly string[],
    args: readonly string[],
  ): Readonly<Record<string, string>> => {
    const { text } = openssl(['verify', ...only, '-CAfile', trusted, ...args, ...names], '', folder);
    // One line for a certificate that is good, several for each other one, the last of them with its name.
    const resultOf = (name: string): string => {
      if (text.includes(`${name}: OK\n`)) return 'OK';
      return text.includes(`error ${name}: verification failed\n`) ? text : `nothing: ${text}`;
    };
    return Object.fromEntries(names.map((name) => [name, resultOf(name)]));
  };
  const trusted = write('roots', roots);
  const verify: Verify = (names, ...args) => run(trusted, names, ['-untrusted', above, ...args]);
  return {
    verify,
    alone: (name: string) => run(trusted, [name], [])[name],
    root: (pem: string) => run(write('root', [pem]), ['root'], [])['root'],
    lists: ['-CRLfile', write('lists', crls), '-crl_check_all'],
    workloads: chains(workloads),
    servers: chains(servers),
    revoked: chains({ revoked }),
  };
}

t.test(
  ...withOpenssl('every chain is good for what it is for, and for nothing else', async (t) => {
    for (const authority of authorities(t)) {
      const { alone, lists, revoked, root, servers, verify, workloads } = verifier(t, authority);
      const { name } = authority;
      const allOf = (names: readonly string[], result: string | RegExp): Readonly<Record<string, string | RegExp>> =>
        Object.fromEntries(names.map((each) => [each, result]));
      const purpose = /unsuitable certificate purpose/;
      t.same(verify(workloads, '-purpose', 'sslclient'), allOf(workloads, 'OK'), `${name}: workloads as clients`);
      t.same(verify(workloads, '-purpose', 'sslserver'), allOf(workloads, 'OK'), `${name}: workloads as servers`);
      t.same(verify(workloads, ...lists), allOf(workloads, 'OK'), `${name}: workloads that are on no list`);
      t.match(verify(workloads, '-purpose', 'smimesign'), allOf(workloads, purpose), `${name}: workloads, for mail`);
      for (const each of workloads) t.match(alone(each), /unable to get local issuer/, `${name}: ${each}, alone`);
      for (const pem of authority.roots) t.equal(root(pem), 'OK', `${name}: a root verifies itself`);

      const named = ['-purpose', 'sslserver', '-verify_hostname', 'ca.mesh.test'];
      t.same(verify(servers, ...named), allOf(servers, 'OK'), `${name}: servers by name`);
      t.same(verify(servers, '-verify_ip', '127.0.0.1'), allOf(servers, 'OK'), `${name}: servers by address`);
      const mismatch = allOf(servers, /hostname mismatch/i);
      t.match(verify(servers, '-verify_hostname', 'other.test'), mismatch, `${name}: servers by another name`);
      t.match(verify(servers, '-purpose', 'sslclient'), allOf(servers, purpose), `${name}: servers as clients`);

      t.same(verify(revoked), allOf(revoked, 'OK'), `${name}: revoked, but nobody looks`);
      t.match(verify(revoked, ...lists), allOf(revoked, /certificate revoked/), `${name}: revoked`);
    }
  }),
);

t.test(
  ...withOpenssl('revocation lists: signed by their authority, numbered, with reasons', async (t) => {
    const folder = t.testdir({});
    for (const { crls, name, roots, workloads } of authorities(t)) {
      const all = join(folder, 'all.pem');
      writeFileSync(all, [...roots, ...Object.values(workloads).flatMap(([, ...above]) => above)].join(''));
      const read = ['crl', '-noout', '-text', '-CAfile', all, '-no-CApath', '-no-CAstore'];
      const texts = crls.map((crl) => openssl(read, crl));
      for (const { status, text } of texts) {
        t.equal(status, 0, name);
        t.match(text, /verify OK/, name);
        t.match(text, /Version 2/);
        t.match(text, /X509v3 CRL Number:/);
        t.match(text, /X509v3 Authority Key Identifier:/);
      }
      t.equal(texts.filter(({ text }) => /Key Compromise/.test(text)).length, 1, `${name}: one list has the reason`);
    }
  }),
);

t.test(
  ...withOpenssl('certificate requests: signed, without a subject, with the identity as a critical name', async (t) => {
    const keys = {
      'P-256': generateIdentityKey(),
      'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
      Ed25519: generateKeyPairSync('ed25519').privateKey,
    };
    for (const [name, key] of Object.entries(keys)) {
      const id = 'spiffe://cluster.local/ns/shop/sa/web';
      const { status, text } = openssl(['req', '-verify', '-noout', '-text'], createCsr(id, key));
      t.equal(status, 0, name);
      t.match(text, /verify OK/, name);
      t.match(text, /Version: 1 \(0x0\)/, name);
      t.match(text, /Subject: *\n/, name);
      t.match(text, new RegExp(`Subject Alternative Name: critical\\s+URI:${id}`), name);
    }
  }),
);
