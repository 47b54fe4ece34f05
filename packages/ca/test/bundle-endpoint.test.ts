import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { parseSpiffeBundle } from 'inmesh/identity';
import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import {
  type Authority,
  type BundleEndpointOptions,
  createAuthority,
  runAuthority,
  serveBundleEndpoint,
} from '../src/index.ts';

async function ask(url: string, ca: string, options: RequestOptions = {}) {
  const outgoing = request(url, { agent: false, ca, checkServerIdentity: () => undefined, ...options });
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  return { status: answer.statusCode, headers: answer.headers, text };
}

t.test('shows its bundle to everybody, and nothing else', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const endpoint = await serveBundleEndpoint(authority, { clock });
  t.teardown(endpoint.close);
  const { rootPem: ca } = authority;
  const good = await ask(endpoint.url, ca);
  t.match(good, { status: 200, headers: { 'content-type': 'application/json', 'cache-control': 'no-cache' } });
  t.match(parseSpiffeBundle(good.text, 'it'), { x509Authorities: [ca], refreshHintMs: 300_000, ignored: [] });
  t.match(await ask(`${endpoint.url}/?x=y`, ca), { status: 200 });
  t.match(await ask(endpoint.url, ca, { method: 'HEAD' }), { status: 200, text: '' });
  t.match(await ask(endpoint.url, ca, { method: 'POST' }), { status: 405, text: '' });
  t.match(await ask(`${endpoint.url}/v1/certificates`, ca), { status: 404, text: '' });
});

t.test('slows down who asks too often, and outlives nonsense', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const endpoint = await serveBundleEndpoint(authority, { clock, requestsPerSecond: 1, burst: 2 });
  t.teardown(endpoint.close);
  const { rootPem: ca } = authority;
  const noise = connectTls({ host: '127.0.0.1', port: endpoint.port, ca, checkServerIdentity: () => undefined });
  noise.on('error', () => {});
  noise.resume();
  noise.end('nonsense\r\n\r\n');
  await once(noise, 'close');
  for (let i = 0; i < 2; i++) t.equal((await ask(endpoint.url, ca)).status, 200);
  t.match(await ask(endpoint.url, ca), { status: 429, headers: { 'retry-after': '1' } });
  clock.advance(1_000);
  t.equal((await ask(endpoint.url, ca)).status, 200);
});

t.test('a bundle that cannot be made is no bundle', async (t) => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const broken: Authority = Object.create(authority, {
    ownBundles: {
      get: () => {
        if (logger.lines.length > 0) throw new Error('disk on fire');
        return authority.ownBundles;
      },
    },
  });
  const endpoint = await serveBundleEndpoint(broken, { clock, logger });
  t.teardown(endpoint.close);
  t.match(await ask(endpoint.url, authority.rootPem), { status: 503, text: '' });
  t.match(JSON.stringify(logger.lines), /disk on fire/);
});

t.test('renews its certificate by time, and at once when another root signs', async (t) => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const endpoint = await serveBundleEndpoint(authority, { clock, logger });
  t.teardown(endpoint.close);
  const serial = async (): Promise<string> => {
    const socket = connectTls({ host: '127.0.0.1', port: endpoint.port, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const { serialNumber, subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    t.equal(subjectaltname, 'URI:spiffe://cluster.local/inmesh/bundle-endpoint');
    return serialNumber;
  };
  const first = await serial();
  clock.advance(29 * 60_000);
  t.equal(await serial(), first);
  clock.advance(2 * 60_000);
  const second = await serial();
  t.not(second, first);
  authority.rotation.prepare();
  authority.rotation.activate({ force: true });
  t.not(await serial(), second);
});

t.test('https_web: a certificate of a public authority comes from files that are read again', async (t) => {
  const clock = fakeClock();
  const folder = mkdtempSync(join(tmpdir(), 'endpoint-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const publicAuthority = createAuthority({ clock });
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const write = (name: string): void => {
    const made = publicAuthority.issueServer([name]);
    writeFileSync(certFile, made.certificateChainPem);
    writeFileSync(keyFile, made.privateKeyPem);
  };
  write('one.example');
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const endpoint = await serveBundleEndpoint(authority, { clock, logger, profile: 'https_web', certFile, keyFile });
  t.teardown(endpoint.close);
  t.equal(endpoint.spiffeId, undefined);
  const name = async (): Promise<string | undefined> => {
    const socket = connectTls({ host: '127.0.0.1', port: endpoint.port, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const { subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    return subjectaltname;
  };
  t.equal(await name(), 'DNS:one.example');
  write('two.example');
  clock.advance(3_600_000);
  t.equal(await name(), 'DNS:two.example');
  writeFileSync(certFile, 'garbage');
  clock.advance(3_600_000);
  t.equal(await name(), 'DNS:two.example', 'what cannot be read leaves the last good one');
  t.match(logger.messages('error'), [/was not renewed; trying again/]);
  write('three.example');
  clock.advance(60_000);
  t.equal(await name(), 'DNS:three.example');
});

t.test('options that can never work are refused, and leave nothing behind', async (t) => {
  const authority = createAuthority();
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['another profile', { profile: 'http' }, /profile: expected https_spiffe or https_web/],
    ['a certificate without its key', { profile: 'https_web', certFile: 'x' }, /expected both or none/],
    ['a certificate with https_spiffe', { certFile: 'x', keyFile: 'y' }, /certFile: it belongs to https_web/],
    ['a hint of less than a second', { refreshMs: 999 }, /refreshMs: expected 1000/],
    ['an identity of another domain', { spiffeId: 'spiffe://other.example/x' }, /not a workload of trust domain/],
    ['an address that is not ours', { host: '192.0.2.1' }, /cannot listen/],
  ];
  for (const [what, options, message] of cases) {
    await t.rejects(serveBundleEndpoint(authority, options as BundleEndpointOptions), { message }, what);
  }
  const running = runAuthority({ bundleEndpoint: { host: '192.0.2.1' } });
  await t.rejects(running, { message: /cannot listen/ }, 'the authority does not serve either');
});
