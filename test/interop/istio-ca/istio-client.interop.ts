// The client of istio.io/api over grpc-go, which agents of Istio ask for certificates with.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createAuthority, serveAuthority } from '@inmesh/ca';
import t, { type Test } from 'tap';
import { root } from '../../support/source-files.ts';
import { peerFolder, runOnce } from '../peers.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Answer {
  readonly code: string;
  readonly message: string;
  readonly chain: readonly string[];
  readonly uri: string;
  readonly verified: string;
  readonly seconds: number;
}

function client(): { readonly path: string } | { readonly why: string } {
  const found = peerFolder('istio-ca-client', (folder) => {
    cpSync(join(root, 'test/interop/istio-ca/client'), folder, { recursive: true });
    return runOnce('go', ['build', '-o', 'client', '.'], { cwd: folder, env: { GOFLAGS: '-p=2 -mod=readonly' } });
  });
  return 'why' in found ? found : { path: join(found.folder, 'client') };
}

async function start(t: Test) {
  const program = client();
  if ('why' in program) {
    t.comment(`skipped, the client cannot be built here: ${program.why}`);
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), 'istio-ca-'));
  const authority = createAuthority();
  const server = await serveAuthority(authority);
  t.teardown(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  writeFileSync(join(folder, 'root.pem'), authority.rootPem);
  const ask = async (...args: readonly string[]): Promise<readonly Answer[]> => {
    const common = ['-address', `127.0.0.1:${server.port}`, '-root', join(folder, 'root.pem')];
    const { stdout } = await promisify(execFile)(program.path, [...common, ...args], { timeout: 60_000 });
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer);
  };
  const token = (uses = 1): string => authority.createToken({ spiffeId: web, uses }).token;
  return { ask, authority, folder, token };
}

t.test('gets certificates that Go verifies, with EC and RSA keys', async (t) => {
  const started = await start(t);
  if (started === undefined) return;
  const { ask, authority, token } = started;
  for (const type of ['ec', 'rsa']) {
    const [answer] = await ask('-token', token(), '-type', type, '-san', web);
    t.match(answer, { code: 'OK', verified: 'yes', uri: web }, type);
    t.equal(answer?.chain.at(-1), authority.rootPem, 'the root is last');
    t.ok((answer?.seconds ?? 0) > 3_500 && (answer?.seconds ?? 0) <= 3_600, 'a day was asked for, an hour is given');
  }
  const many = await ask('-token', token(5), '-calls', '5', '-san', 'spiffe://td2/ns/x/sa/y');
  t.strictSame(
    many.map(({ uri, verified }) => [uri, verified]),
    Array(5).fill([web, 'yes']),
    'over one connection; names in the request do not matter',
  );
});

t.test('renews with the certificate that it got, as an agent on a virtual machine does', async (t) => {
  const started = await start(t);
  if (started === undefined) return;
  const { ask, folder, token } = started;
  const files = ['-cert', join(folder, 'chain.pem'), '-key', join(folder, 'key.pem')];
  t.match(await ask('-token', token(), '-keep', folder), [{ verified: 'yes' }]);
  t.match(await ask(...files), [{ code: 'OK', uri: web, verified: 'yes' }]);
});

t.test('is told by status why it gets nothing', async (t) => {
  const started = await start(t);
  if (started === undefined) return;
  const { ask, token } = started;
  t.match(await ask(), [{ code: 'Unauthenticated' }]);
  t.match(await ask('-token', 'x.y.z'), [{ code: 'Unauthenticated' }]);
  t.match(await ask('-token', token(), '-validity', '7776001'), [{ code: 'InvalidArgument' }]);
  const once = token();
  t.match(await ask('-token', once, '-calls', '2'), [{ code: 'OK' }, { code: 'Unauthenticated' }]);
});
