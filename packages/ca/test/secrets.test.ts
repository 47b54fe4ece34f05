import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { createCsr } from 'inmesh/identity';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { initAuthority, openAuthority, reasonOf } from '../src/index.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

/** A process that works with an authority and then writes down everything that its heap holds. */
const program = (index: string, identity: string): string => `
import { writeHeapSnapshot } from 'node:v8';
import { openAuthority, serveAuthority } from ${JSON.stringify(index)};
import { createCsr, generateIdentityKey } from ${JSON.stringify(identity)};
const [dir, file, passphrase] = process.argv.slice(1);
const authority = openAuthority(dir, passphrase === undefined ? {} : { passphrase });
const server = await serveAuthority(authority);
authority.signCsr(createCsr(${JSON.stringify(web)}, generateIdentityKey()), ${JSON.stringify(web)});
authority.rotation.prepare();
authority.rotation.activate();
authority.signCsr(createCsr(${JSON.stringify(web)}, generateIdentityKey()), ${JSON.stringify(web)});
JSON.stringify([authority, authority.status()]);
authority.rotation.abort();
writeHeapSnapshot(file);
await server.close();
`;

for (const passphrase of [undefined, 'correct horse battery staple']) {
  t.test(
    `CA-016: no key of an authority lies in the heap of its process ${passphrase === undefined ? 'as text' : 'when there is a passphrase'}`,
    async (t) => {
      const folder = t.testdir();
      const dir = join(folder, 'ca');
      initAuthority(dir, passphrase === undefined ? {} : { passphrase });
      const snapshot = join(folder, 'x.heapsnapshot');
      const source = program(new URL('../src/index.ts', import.meta.url).href, import.meta.resolve('inmesh/identity'));
      const args = ['--conditions=@inmesh/source', '--input-type=module-typescript', '--eval', source, dir, snapshot];
      const { status, stderr } = spawnSync(
        process.execPath,
        [...args, ...(passphrase === undefined ? [] : [passphrase])],
        {
          encoding: 'utf8',
          cwd: import.meta.dirname,
        },
      );
      t.equal(status, 0, stderr);
      const heap = readFileSync(snapshot, 'utf8');
      t.match(heap.slice(0, 200), /snapshot/);
      t.ok(heap.includes('BEGIN CERTIFICATE'), 'certificates are there, so texts are seen');
      const keys = readdirSync(dir).filter((name) => name.endsWith('-key.pem'));
      t.equal(keys.length, 4);
      for (const name of keys) {
        const text = readFileSync(join(dir, name), 'utf8');
        const key = createPrivateKey({ key: text, ...(passphrase === undefined ? {} : { passphrase }) });
        const { d } = key.export({ format: 'jwk' });
        const plain = key.export({ type: 'pkcs8', format: 'pem' }).toString().split('\n');
        for (const secret of [String(d), ...plain.slice(1, 3)]) {
          t.notOk(heap.includes(secret), `${name}: a part of the key`);
        }
      }
    },
  );
}

t.test('CA-016: no key in what is logged, shown, or said when something is wrong', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const logger = recordingLogger();
  const authority = initAuthority(dir, { logger });
  const { token } = authority.createToken({ spiffeId: web });
  authority.enroll(createCsr(web, makeKey()), token);
  authority.rotation.prepare();
  const { serial } = authority.signCsr(createCsr(web, makeKey()), web);
  authority.revoke({ serial });
  const said: string[] = [
    inspect(authority, { depth: 20, showHidden: true }),
    JSON.stringify(authority),
    JSON.stringify(authority.status()),
  ];
  const attempts: readonly (() => unknown)[] = [
    () => authority.enroll(createCsr(web, makeKey()), token),
    () => authority.signCsr(readFileSync(join(dir, 'root-key.pem'), 'utf8'), web),
    () => authority.rotation.prepare(),
    () => authority.rotation.finish(),
    () => authority.importIntermediate(dir),
    () => openAuthority(dir, { trustDomain: 'other.example' }),
    () => authority.revoke({ serial: 'x' }),
  ];
  for (const attempt of attempts) {
    try {
      attempt();
      t.fail('it worked');
    } catch (error) {
      said.push(inspect(error, { depth: 20 }), String(reasonOf(error)));
    }
  }
  said.push(JSON.stringify(logger.lines));
  const all = said.join('\n');
  t.notMatch(all, /PRIVATE/);
  t.notOk(all.includes(token.split('.')[2] as string), 'the secret of a token');
  for (const name of readdirSync(dir).filter((file) => file.endsWith('-key.pem'))) {
    for (const line of readFileSync(join(dir, name), 'utf8').split('\n').slice(1, 3)) t.notOk(all.includes(line), name);
  }
});
