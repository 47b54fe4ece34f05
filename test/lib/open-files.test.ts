import t from 'tap';
import { openFilesLimit } from '../../src/lib/open-files.ts';
import { resolveLimits } from '../../src/transport/limits.ts';
import { meshServerOptions } from '../../src/transport/server-options.ts';

t.test('the soft limit of open files is read, and without one there is none', async (t) => {
  const text = 'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096      files\n';
  t.equal(
    openFilesLimit(() => text),
    1_024,
  );
  const none = ['', 'Max open files            unlimited            unlimited            files', 'Max open files'];
  for (const other of none)
    t.equal(
      openFilesLimit(() => other),
      Number.POSITIVE_INFINITY,
      other,
    );
  t.equal(
    openFilesLimit(() => {
      throw new Error('no /proc');
    }),
    Number.POSITIVE_INFINITY,
  );
});

t.test('connections never take more than half of the files', async (t) => {
  t.ok(resolveLimits().maxConnections <= openFilesLimit() / 2);
  t.ok(resolveLimits().maxConnections <= 20_000);
  t.equal(resolveLimits({ maxConnections: 7 }).maxConnections, 7);
});

t.test('the options for servers of the application are the limits of the mesh', async (t) => {
  t.same(meshServerOptions({ maxHeaderBytes: 8_192, headersTimeoutMs: 20_000, requestTimeoutMs: 15_000 }), {
    insecureHTTPParser: false,
    maxHeaderSize: 8_192,
    headersTimeout: 15_000,
    requestTimeout: 15_000,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 5_000,
    noDelay: true,
    maxSessionMemory: 10,
    settings: { maxConcurrentStreams: 100, maxHeaderListSize: 8_192 },
  });
});
