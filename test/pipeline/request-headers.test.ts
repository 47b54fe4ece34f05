import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { removeRequestHeader, setRequestHeader } from '../../src/pipeline/request-headers.ts';
import { setRequestTarget } from '../../src/pipeline/request-target.ts';
import { rawExchange } from '../support/inbound.ts';

type Step =
  | { readonly do: 'set'; readonly name: string; readonly value: string }
  | { readonly do: 'remove'; readonly name: string }
  | { readonly do: 'look'; readonly at: 'headers' | 'headersDistinct' };

const names = ['x-a', 'x-b', 'x-c', 'authorization', 'cookie'];
const name = fc.constantFrom(...names);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('set' as const), name, value: fc.constantFrom('1', '2') }),
  fc.record({ do: fc.constant('remove' as const), name }),
  fc.record({ do: fc.constant('look' as const), at: fc.constantFrom('headers' as const, 'headersDistinct' as const) }),
);
const sent = fc.array(
  fc.tuple(fc.constantFrom('X-A', 'x-a', 'X-B', 'Authorization', 'cookie'), fc.constantFrom('s', 't')),
);

/** What all views must say in the end, by name. */
function model(lines: readonly (readonly [string, string])[], steps: readonly Step[]): Map<string, string[]> {
  const all = new Map<string, string[]>();
  for (const [raw, value] of lines) all.set(raw.toLowerCase(), [...(all.get(raw.toLowerCase()) ?? []), value]);
  for (const each of steps) {
    if (each.do === 'remove') all.delete(each.name);
    else if (each.do === 'set') all.set(each.name, [each.value]);
  }
  return all;
}

function run(request: IncomingMessage, steps: readonly Step[]): void {
  for (const each of steps) {
    if (each.do === 'set') setRequestHeader(request, each.name, each.value);
    else if (each.do === 'remove') removeRequestHeader(request, each.name);
    else void request[each.at];
  }
}

t.test('all views of the headers agree, whenever they are made', async (t) => {
  let steps: readonly Step[] = [];
  const server = createServer((request, response) => {
    run(request, steps);
    const { headers, headersDistinct, rawHeaders } = request;
    response.end(JSON.stringify({ headers, headersDistinct, rawHeaders }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  await fc.assert(
    fc.asyncProperty(sent, fc.array(step, { maxLength: 8 }), async (lines, chosen) => {
      steps = chosen;
      const head = lines.map(([raw, value]) => `${raw}: ${value}\r\n`).join('');
      const [answer] = await rawExchange(port, `GET / HTTP/1.1\r\nHost: web\r\n${head}\r\n`);
      const seen = JSON.parse(answer?.body ?? '') as {
        headers: Record<string, string>;
        headersDistinct: Record<string, string[]>;
        rawHeaders: string[];
      };
      const expected = model(lines, chosen);
      for (const each of names) {
        const values = expected.get(each);
        const raw = seen.rawHeaders.flatMap((text, i) =>
          i % 2 === 1 && seen.rawHeaders[i - 1]?.toLowerCase() === each ? [text] : [],
        );
        t.same(raw, values ?? []);
        t.same(seen.headersDistinct[each], values);
        t.equal(seen.headers[each] === undefined, values === undefined);
        t.equal(seen.headers[each]?.startsWith(values?.[0] ?? ''), values === undefined ? undefined : true);
      }
    }),
    { seed: 3, numRuns: 150 },
  );
});

t.test('another target is one in every place where an application could read it', async (t) => {
  const url = '/a?access_token=x';
  const first = { httpVersionMajor: 1, url, headers: {}, rawHeaders: [] } as unknown as IncomingMessage;
  setRequestTarget(first, '/a');
  t.same([first.url, first.headers], ['/a', {}]);
  const headers = { ':method': 'GET', ':path': url };
  const second = { httpVersionMajor: 2, url, headers, rawHeaders: Object.entries(headers).flat() };
  setRequestTarget(second as unknown as IncomingMessage, '/a');
  t.notMatch(JSON.stringify(second), 'access_token', 'HTTP/2');
  t.equal(second.rawHeaders[3], '/a');
});
