import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { bundleDocument, createAuthority, openAuthority, openFederation, runAuthority } from '../src/index.ts';
import { call } from './support/call.ts';

t.test('makes an authority, serves it, and ends when it is told to', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const logger = recordingLogger();
  const abort = new AbortController();
  const running = await runAuthority({ dir, trustDomain: 'mesh.example', logger, signal: abort.signal });
  t.equal(openAuthority(dir).rootPem, running.authority.rootPem);
  t.match(logger.messages('info'), [/the certificate authority serves/]);
  const ask = () => call(running.url, { path: '/healthz', ca: running.authority.rootPem });
  t.equal((await ask()).status, 200);
  abort.abort();
  await running.close();
  await t.rejects(ask());
  await running.close();

  const again = await runAuthority({ dir });
  t.equal(again.authority.rootPem, running.authority.rootPem, 'the same one again');
  t.equal(again.authority.trustDomain, 'mesh.example');
  await again.close();
});

t.test('does not serve when it is told to stop before it began', async (t) => {
  const running = await runAuthority({ signal: AbortSignal.abort() });
  await t.rejects(call(running.url, { path: '/healthz', ca: running.authority.rootPem }));
});

t.test('follows the relations that another process adds to its folder and takes away, also over a start', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const clock = fakeClock();
  const options = { dir, clock, trustDomain: 'mesh.example' };
  const running = await runAuthority(options);
  const partner = createAuthority({ trustDomain: 'partner.example', clock });
  const ask = async (url: string): Promise<unknown> => {
    const { json } = await call(url, { path: '/v1/bundle', ca: running.authority.rootPem });
    return json['trustBundles'];
  };
  const alone = { 'mesh.example': [running.authority.rootPem] };
  t.strictSame(await ask(running.url), alone);
  let told = 0;
  running.authority.subscribe(() => told++);

  const command = openFederation(dir, { clock });
  t.teardown(() => command.close());
  const url = 'https://127.0.0.1:1/';
  command.add({ trustDomain: 'partner.example', url, profile: 'https_web' }, bundleDocument(partner).text());
  t.strictSame(await ask(running.url), alone);
  clock.advance(1_000);
  const both = { ...alone, 'partner.example': [partner.rootPem] };
  t.strictSame(await ask(running.url), both);
  t.equal(told, 1, 'members that wait are told');
  await running.close();

  const again = await runAuthority(options);
  t.teardown(again.close);
  t.strictSame(await ask(again.url), both, 'what was fetched last counts from the first moment');
  t.equal(command.remove('partner.example'), true);
  clock.advance(1_000);
  t.strictSame(await ask(again.url), alone);
});

t.test('a folder that cannot be read any more does not end what is followed', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const clock = fakeClock();
  const logger = recordingLogger();
  const partner = createAuthority({ trustDomain: 'partner.example', clock });
  const running = await runAuthority({ dir, clock, logger });
  t.teardown(running.close);
  const relation = { trustDomain: 'partner.example', url: 'https://127.0.0.1:1/', profile: 'https_web' } as const;
  running.federation.add(relation, bundleDocument(partner).text());
  renameSync(join(dir, 'federation'), join(dir, 'elsewhere'));
  writeFileSync(join(dir, 'federation'), 'no folder');
  clock.advance(1_000);
  t.match(logger.messages('error'), [/relations could not be looked at; trying again/]);
  t.ok(running.authority.trustBundles.has('partner.example'));
  rmSync(join(dir, 'federation'));
  renameSync(join(dir, 'elsewhere'), join(dir, 'federation'));
  clock.advance(1_000);
  t.equal(logger.messages('error').length, 1);
});
