// The page of @inmesh/admin in a real Chromium: its policy lets its own script and style run, and nothing else.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adminServer } from '@inmesh/admin';
import { createMesh } from 'inmesh';
import t, { type Test } from 'tap';
import { debianPackages } from '../peers.ts';

/** Chromium, and of its libraries those that a machine without a desktop lacks. */
const needed = (): readonly string[] => {
  const { stdout } = spawnSync('apt-get', ['install', '--simulate', '--no-install-recommends', 'chromium'], {
    encoding: 'utf8',
  });
  return [...(stdout ?? '').matchAll(/^Inst (\S+)/gm)].map(([, name]) => name as string);
};

interface Browser {
  readonly file: string;
  readonly libraries: string;
}

function browser(): Browser | { readonly why: string } {
  const packages = needed();
  if (!packages.includes('chromium')) return { why: 'apt-get knows no package chromium' };
  const found = debianPackages('chromium', packages);
  if ('why' in found) return found;
  const file = join(found.folder, 'usr/lib/chromium/chromium');
  const { status } = spawnSync(file, ['--version'], { env: { ...process.env, LD_LIBRARY_PATH: found.libraries } });
  return status === 0 ? { file, libraries: found.libraries } : { why: 'it does not start here' };
}

const chromium = browser();
if ('why' in chromium) t.comment(`skipped, there is no Chromium here: ${chromium.why}`);
const skip = 'why' in chromium ? chromium.why : false;

/** What a page is after its script has run, and what the browser had to say. */
async function look(t: Test, url: string, more: readonly string[] = []): Promise<{ dom: string; said: string }> {
  const { file, libraries } = chromium as Browser;
  const profile = mkdtempSync(join(tmpdir(), 'inmesh-chromium-'));
  t.teardown(() => rmSync(profile, { recursive: true, force: true, maxRetries: 5 }));
  const child = spawn(
    file,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      `--user-data-dir=${profile}`,
      '--enable-logging=stderr',
      '--virtual-time-budget=6000',
      ...more,
      '--dump-dom',
      url,
    ],
    { env: { ...process.env, LD_LIBRARY_PATH: libraries }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  t.teardown(() => child.kill('SIGKILL'));
  let dom = '';
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (dom += chunk));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk));
  await once(child, 'close');
  return {
    dom,
    said: said
      .split('\n')
      .filter((line) => line.includes('CONSOLE'))
      .join('\n'),
  };
}

t.test('Chromium shows the page, and pages of other sites see nothing of it', { skip, timeout: 400_000 }, async (t) => {
  const upstream = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  t.teardown(() => upstream.close());
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-page-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(
    join(folder, 'mesh.yaml'),
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${(upstream.address() as AddressInfo).port}}, labels: {version: v1}}]
`,
  );
  const mesh = createMesh({
    config: join(folder, 'mesh.yaml'),
    identity: false,
    workload: { name: 'web', namespace: 'shop' },
  });
  t.teardown(() => mesh.close());
  await mesh.ready(10_000);
  for (let i = 0; i < 5; i++) await (await mesh.fetch('http://reviews.shop:9080/')).text();
  const admin = await adminServer(mesh, { port: 0 });
  t.teardown(() => admin.close());

  const { dom, said } = await look(t, `${admin.url}/`);
  t.equal(said, '', 'nothing on the console: no violation of its policy, no error');
  t.match(dom, /<p id="state"[^>]*class="good"[^>]*>ready<\/p>/);
  t.match(dom, '<td data-label="service">reviews.shop.svc.cluster.local v1</td>');
  t.match(dom, /<td class="good" data-label="state">healthy<\/td>/);
  t.match(dom, '<h1 id="name">web</h1>');

  // Another site, in the same browser.
  const got: string[] = [];
  const evil = createServer((request, response) => {
    got.push(request.url ?? '');
    response.setHeader('content-type', 'text/html');
    response.end(`<script>
      const tell = (what) => fetch('/told?' + encodeURIComponent(what));
      fetch('${admin.url}/stats').then((r) => r.text()).then((t) => tell('read ' + t.length), () => tell('refused'));
      fetch('${admin.url}/logging?level=debug', { method: 'POST', mode: 'no-cors' }).catch(() => {});
    </script>`);
  }).listen(0, '127.0.0.1');
  await once(evil, 'listening');
  t.teardown(() => evil.close());
  const level = mesh.logLevel();
  await look(t, `http://127.0.0.1:${(evil.address() as AddressInfo).port}/`);
  t.ok(got.includes('/told?refused'), got.join(' '));
  t.equal(mesh.logLevel(), level, 'and has changed nothing');

  // DNS rebinding: a name of an attacker that leads to the admin endpoints.
  const { port } = admin;
  const rebound = await look(t, `http://evil.example:${port}/config_dump`, [
    '--host-resolver-rules=MAP evil.example 127.0.0.1',
  ]);
  t.match(rebound.dom, 'is not among allowedHosts');
  t.notMatch(rebound.dom, 'reviews');

  const picture = process.env['PAGE_SCREENSHOT'];
  if (picture !== undefined) {
    await look(t, `${admin.url}/`, [`--screenshot=${picture}`, '--window-size=412,915']);
    t.ok(readFileSync(picture).length > 0);
  }
});
