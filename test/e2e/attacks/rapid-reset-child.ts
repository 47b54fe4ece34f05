// Who attacks: `<port>`; told over IPC how, and how many streams.
import { rawHttp2 } from '../../support/http2-raw-client.ts';
import { rapidReset } from './h2.ts';

const port = Number(process.argv[2]);

process.on('message', async ({ how, count }: { readonly how: 'once' | 'again'; readonly count: number }) => {
  let [written, connections] = [0, 0];
  do {
    const client = rawHttp2(port);
    written += await rapidReset(client, count - written);
    connections++;
    await client.until(() => client.isClosed() || client.goAway() !== undefined);
    client.destroy();
  } while (how === 'again' && written < count);
  process.send?.({ written, connections });
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
