// Certificates, revocation lists and requests of ours, read by openssl.
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, generateIdentityKey } from 'inmesh/identity';
import t from 'tap';
import { everyAuthority } from '../ca-certificates.ts';
import { openssl, withOpenssl } from './openssl.ts';

t.test(
  ...withOpenssl('every chain is good for what it is for, and for nothing else', async (t) => {
    const folder = t.testdir({});
    const write = (name: string, pems: readonly string[]): string => {
      const file = join(folder, name);
      writeFileSync(file, pems.join(''));
      return file;
    };
    for (const { crls, name, revoked, roots, servers, workloads } of everyAuthority(t)) {
      const trusted = write('roots.pem', roots);
      const lists = write('crls.pem', crls);
      const verify = ([leaf = '', ...above]: readonly string[], ...more: string[]): string => {
        const chain = above.length === 0 ? [] : ['-untrusted', write('above.pem', above)];
        const ca = ['-x509_strict', '-no-CApath', '-no-CAstore', '-CAfile', trusted];
        const { status, text } = openssl(['verify', ...ca, ...chain, ...more, write('leaf.pem', [leaf])]);
        return status === 0 ? 'good' : text;
      };
      const withLists = ['-CRLfile', lists, '-crl_check_all'];
      for (const [what, chain] of Object.entries(workloads)) {
        t.equal(verify(chain, '-purpose', 'sslclient'), 'good', `${name}: ${what}, as a client`);
        t.equal(verify(chain, '-purpose', 'sslserver'), 'good', `${name}: ${what}, as a server`);
        t.equal(verify(chain, '-purpose', 'sslserver', ...withLists), 'good', `${name}: ${what}, on no list`);
        t.match(verify(chain, '-purpose', 'smimesign'), /unsuitable certificate purpose/, `${name}: ${what}, for mail`);
        t.match(verify(chain.slice(0, 1)), /unable to get local issuer/, `${name}: ${what}, without what is above`);
        for (const root of roots) {
          const only = write('root.pem', [root]);
          const { status } = openssl(['verify', '-no-CAfile', '-no-CApath', '-no-CAstore', '-CAfile', only, only]);
          t.equal(status, 0, `${name}: a root verifies itself`);
        }
      }
      for (const [what, chain] of Object.entries(servers)) {
        const named = ['-purpose', 'sslserver', '-verify_hostname', 'ca.mesh.test'];
        t.equal(verify(chain, ...named), 'good', `${name}: server, ${what}`);
        t.equal(verify(chain, '-purpose', 'sslserver', '-verify_ip', '127.0.0.1'), 'good', `${name}: server, ${what}`);
        t.match(verify(chain, '-verify_hostname', 'other.test'), /hostname mismatch/i, `${name}: of another name`);
        t.match(
          verify(chain, '-purpose', 'sslclient'),
          /unsuitable certificate purpose/,
          `${name}: ${what}, as a client`,
        );
      }
      t.equal(verify(revoked), 'good', `${name}: revoked, but nobody looks`);
      t.match(verify(revoked, ...withLists), /certificate revoked/, `${name}: revoked`);
    }
  }),
);

t.test(
  ...withOpenssl('revocation lists: signed by their authority, numbered, with reasons', async (t) => {
    const folder = t.testdir({});
    for (const { crls, name, roots, workloads } of everyAuthority(t)) {
      const all = join(folder, 'all.pem');
      writeFileSync(all, [...roots, ...Object.values(workloads).flatMap(([, ...above]) => above)].join(''));
      const texts = crls.map((crl) =>
        openssl(['crl', '-noout', '-text', '-CAfile', all, '-no-CApath', '-no-CAstore'], crl),
      );
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
