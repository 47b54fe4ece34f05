import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fileLayouts, filesOfLayout } from '../../src/identity/file-layouts.ts';
import { type FileIdentityOptions, fileIdentitySource } from '../../src/identity/file-source.ts';
import { fileWatcherOptions } from '../../src/identity/file-watcher.ts';
import { formatSpiffeBundle } from '../../src/identity/spiffe-bundle.ts';
import { identitySourceSuite } from '../suites/identity-source.ts';
import { keyPem, makeAuthority, makeKey } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

/** Names of the three files of a folder. */
interface Names {
  readonly certificate: string;
  readonly key: string;
  readonly root: string;
}

/** How somebody writes credentials into a folder. */
type Writer = (folder: string, texts: Readonly<Record<string, string>>) => void;

/** As Kubernetes and CSI drivers do: a new folder beside the old one, then one link is turned. */
const turnLink: Writer = (folder, texts) => {
  const version = `..${Math.random().toString(36).slice(2)}`;
  mkdirSync(join(folder, version));
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, version, name), text, { mode: 0o600 });
  symlinkSync(version, join(folder, '..data_tmp'));
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
  for (const name of Object.keys(texts)) {
    try {
      symlinkSync(join('..data', name), join(folder, name));
    } catch {
      // There since the first time.
    }
  }
};

/** As istio-agent does for OUTPUT_CERTS: one after the other, each in its place. */
const oneByOne: Writer = (folder, texts) => {
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, name), text, { mode: 0o600 });
};

const suite = (
  name: string,
  names: Names,
  writer: Writer,
  optionsFor: (folder: string) => FileIdentityOptions,
  rootsOf: (roots: readonly string[]) => string = (roots) => roots.join(''),
): void =>
  identitySourceSuite(t, {
    name,
    polls: true,
    make: async (t: Test, clock) => {
      const folder = t.testdir({ mount: {} });
      const mount = join(folder, 'mount');
      const authority = makeAuthority();
      const put = (chain: string, key: string, roots: string): void =>
        writer(mount, { [names.key]: key, [names.certificate]: chain, [names.root]: roots });
      return {
        source: fileIdentitySource({ ...optionsFor(mount), clock }),
        spiffeId: web,
        issue: async ({ extraRoots = [], notAfter = clock.wallNow() + 3_600_000 } = {}) => {
          const issued = authority.issue(web, { notAfter });
          put(issued.certificateChainPem, issued.privateKeyPem, rootsOf([authority.rootPem, ...extraRoots]));
        },
        mismatch: async () =>
          put(authority.issue(web).certificateChainPem, keyPem(makeKey()), rootsOf([authority.rootPem])),
        garble: async () => {
          const issued = authority.issue(web);
          put(issued.certificateChainPem, issued.privateKeyPem, rootsOf([authority.rootPem]).slice(0, 200));
        },
        cutOff: async () => renameSync(mount, `${mount}-away`),
        reconnect: async () => renameSync(`${mount}-away`, mount),
      };
    },
  });

for (const layout of fileLayouts) {
  const { certificateFile, keyFile, rootFile } = filesOfLayout(layout);
  const names = { certificate: certificateFile, key: keyFile, root: rootFile };
  const writer = layout === 'istio' ? oneByOne : turnLink;
  suite(`files of layout ${layout}`, names, writer, (directory) => ({ layout, directory }));
}

const bundleMap = (roots: readonly string[]): string =>
  `{"trust_domains":{"cluster.local":${formatSpiffeBundle({ x509Authorities: roots, jwtAuthorities: [] })}}}`;

suite(
  "files of gRPC's file_watcher with a bundle map",
  { certificate: 'chain.pem', key: 'private.pem', root: 'bundles.json' },
  turnLink,
  (folder) =>
    fileWatcherOptions({
      certificate_file: join(folder, 'chain.pem'),
      private_key_file: join(folder, 'private.pem'),
      ca_certificate_file: join(folder, 'not-there.pem'),
      spiffe_trust_bundle_map_file: join(folder, 'bundles.json'),
      refresh_interval: '0.5s',
    }),
  bundleMap,
);

t.test('each layout is where its writer puts it', (t) => {
  const paths = Object.fromEntries(
    fileLayouts.map((layout) => {
      const { certificateFile, directory, keyFile, rootFile } = filesOfLayout(layout);
      return [layout, [directory, certificateFile, keyFile, rootFile]];
    }),
  );
  const credentials = '/var/run/secrets/workload-spiffe-credentials';
  t.same(paths, {
    istio: ['/etc/certs', 'cert-chain.pem', 'key.pem', 'root-cert.pem'],
    'istio-credentials': [credentials, 'cert-chain.pem', 'key.pem', 'root-cert.pem'],
    gke: [credentials, 'certificates.pem', 'private_key.pem', 'ca_certificates.pem'],
    'cert-manager': ['/var/run/secrets/spiffe.io', 'tls.crt', 'tls.key', 'ca.crt'],
  });
  t.equal(fileIdentitySource().name, 'files:/etc/certs');
  t.equal(fileIdentitySource({ layout: 'gke' }).name, `files:${credentials}`);
  t.end();
});

t.test('roots of other trust domains come from files of their own, or all from one bundle map', async (t) => {
  const authority = makeAuthority();
  const partner = makeAuthority({ trustDomain: 'partner.example' });
  const issued = authority.issue(web);
  const folder = t.testdir({
    'cert-chain.pem': issued.certificateChainPem,
    'key.pem': issued.privateKeyPem,
    'root-cert.pem': authority.rootPem,
    'partner.pem': partner.rootPem,
    'bundles.json': JSON.stringify({
      trust_domains: {
        'cluster.local': JSON.parse(formatSpiffeBundle({ x509Authorities: [authority.rootPem], jwtAuthorities: [] })),
        'partner.example': JSON.parse(formatSpiffeBundle({ x509Authorities: [partner.rootPem], jwtAuthorities: [] })),
      },
    }),
  });
  for (const roots of [
    { federatedRootFiles: { 'partner.example': 'partner.pem' } },
    { spiffeBundleMapFile: join(folder, 'bundles.json') },
  ]) {
    const abort = new AbortController();
    await fileIdentitySource({ directory: folder, ...roots }).run(
      {
        update: ({ trustBundles }) => {
          t.same(
            [...trustBundles],
            [
              ['cluster.local', [authority.rootPem]],
              ['partner.example', [partner.rootPem]],
            ],
          );
          abort.abort();
        },
        reject: t.fail,
        lost: t.fail,
      },
      abort.signal,
    );
  }
});

t.test('a bundle map without the own trust domain is refused, whatever else is in it', async (t) => {
  const authority = makeAuthority();
  const partner = makeAuthority({ trustDomain: 'partner.example' });
  const issued = authority.issue(web);
  const bundle = JSON.parse(formatSpiffeBundle({ x509Authorities: [partner.rootPem], jwtAuthorities: [] }));
  const directory = t.testdir({
    'cert-chain.pem': issued.certificateChainPem,
    'key.pem': issued.privateKeyPem,
    'bundles.json': JSON.stringify({ trust_domains: { 'partner.example': bundle } }),
  });
  const abort = new AbortController();
  const clock = fakeClock();
  const rejected: string[] = [];
  const running = fileIdentitySource({ directory, spiffeBundleMapFile: 'bundles.json', clock }).run(
    { update: t.fail, reject: ({ message }) => rejected.push(message), lost: t.fail },
    abort.signal,
  );
  while (rejected.length === 0) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(500);
  }
  t.match(rejected, [/no roots for its own trust domain cluster\.local/]);
  abort.abort();
  await running;
});
