import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { checkTrace, type StoredSpan } from '../support/trace-shape.ts';
import { runTracesExample } from '../support/traces-example.ts';

t.test(
  'examples/traces: three processes, one trace, with the try that failed and a span of the application',
  async (t) => {
    const spans: StoredSpan[] = [];
    const server = createServer((incoming, outgoing) => {
      void text(incoming).then((body) => {
        spans.push(...(JSON.parse(body) as StoredSpan[]));
        outgoing.writeHead(202).end();
      });
    });
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    t.teardown(() => server.close());
    t.equal(await runTracesExample(t, (server.address() as AddressInfo).port), '200 7 left\n');
    checkTrace(t, spans);
  },
);
