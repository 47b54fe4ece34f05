import { join } from 'node:path';
import t from 'tap';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { openAuthority, runAuthority } from '../src/index.ts';
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
