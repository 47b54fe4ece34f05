import type { IncomingMessage, ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { type ClientCertDetails, defaultClientCertDetails } from '../../src/lib/forwarded-client-cert.ts';
import type { ForwardClientCertMode } from '../../src/model/inbound.ts';
import { peerFilter } from '../../src/mtls/peer-filter.ts';
import { headerHints } from '../../src/pipeline/server-call.ts';
import { makeAuthority } from '../support/certificates.ts';
import { inboundSnapshot, rawExchange, shopWeb, testInbound } from '../support/inbound.ts';

const authority = makeAuthority();
const cart = authority.issue('spiffe://cluster.local/ns/shop/sa/cart');
const own = `URI=${cart.spiffeId}`;
const tls = { ca: authority.rootPem, credentials: cart };
const from = `By=spiffe://cluster.local/ns/shop/sa/${shopWeb.serviceAccount}`;

/** A server in this mode; `ask` sends these lines of the header and says what the application saw. */
async function serverIn(t: Test, mode: ForwardClientCertMode, details: ClientCertDetails = defaultClientCertDetails) {
  const app = (request: IncomingMessage, response: ServerResponse): void => {
    const { headers, headersDistinct, rawHeaders } = request;
    const raw = rawHeaders.filter((_, i) => rawHeaders[i - (i % 2)]?.toLowerCase() === 'x-forwarded-client-cert');
    const name = 'x-forwarded-client-cert';
    response.end(JSON.stringify({ seen: headers[name] ?? null, distinct: headersDistinct[name] ?? null, raw }));
  };
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  inbound.use(inboundSnapshot({ forwardClientCert: { mode, details } }));
  return async (values: readonly string[], secure: boolean) => {
    const lines = values.map((value) => `X-Forwarded-Client-Cert: ${value}\r\n`).join('');
    const bytes = `GET / HTTP/1.1\r\nHost: web\r\n${lines}\r\n`;
    const [answer] = await rawExchange(inbound.port, bytes, secure ? { tls } : {});
    const body = JSON.parse(answer?.body ?? '{}') as { seen: string | null; distinct: string[] | null; raw: string[] };
    if (values.length < 2) {
      t.same(body.distinct, body.seen === null ? null : [body.seen], 'one view of the headers is like the other');
      t.equal(body.raw[1] ?? null, body.seen, 'and so is the raw list');
    }
    return body.seen;
  };
}

interface Row {
  readonly mode: ForwardClientCertMode;
  /** What the application sees of `URI=a` and of no header, over mTLS and in plaintext. */
  readonly secure: readonly [string | RegExp | null, string | RegExp | null];
  readonly plain: string | null;
}

const ours = new RegExp(`^${from};Hash=[0-9a-f]{64};Subject="";${own}$`);
const rows: readonly Row[] = [
  { mode: 'SANITIZE', secure: [null, null], plain: null },
  { mode: 'SANITIZE_SET', secure: [ours, ours], plain: null },
  { mode: 'FORWARD_ONLY', secure: ['URI=a', null], plain: null },
  { mode: 'APPEND_FORWARD', secure: [new RegExp(`^URI=a,${ours.source.slice(1)}`), ours], plain: null },
  { mode: 'ALWAYS_FORWARD_ONLY', secure: ['URI=a', null], plain: 'URI=a' },
];

for (const { mode, secure, plain } of rows) {
  t.test(`${mode}: what the application sees`, async (t) => {
    const ask = await serverIn(t, mode);
    const check = (seen: string | null, expected: string | RegExp | null, what: string): void => {
      if (expected instanceof RegExp) t.match(seen, expected, what);
      else t.equal(seen, expected, what);
    };
    check(await ask(['URI=a'], true), secure[0], 'of a neighbour who says something');
    check(await ask([], true), secure[1], 'of a neighbour who says nothing');
    check(await ask(['URI=a'], false), plain, 'of a stranger who says something');
    check(await ask([], false), null, 'of a stranger who says nothing');
  });
}

t.test('APPEND_FORWARD adds an element, whatever came before', async (t) => {
  const ask = await serverIn(t, 'APPEND_FORWARD');
  t.match(await ask(['Subject="a\\",URI=spiffe://evil"'], true), /^Subject="a\\",URI=spiffe:\/\/evil",By=/);
  t.match(await ask(['URI=a', 'URI=b'], true), /^URI=a, URI=b,By=/, 'of two headers one is made');
  for (const broken of ['Subject="a', 'URI=a"', 'nonsense', 'Subject="a"URI=b']) {
    t.match(await ask([broken], true), ours, `${broken}: would swallow or change what is appended, and is removed`);
  }
});

t.test('where nothing is known of the certificate, nothing is said of it', async (t) => {
  for (const [mode, seen] of [
    ['SANITIZE_SET', undefined],
    ['APPEND_FORWARD', 'URI=a'],
  ] as const) {
    const headers: Record<string, string> = mode === 'APPEND_FORWARD' ? { 'x-forwarded-client-cert': 'URI=a' } : {};
    const rawHeaders = Object.entries(headers).flat();
    const call = { hints: headerHints.clientCert, request: { headers, rawHeaders, socket: {} }, peer: undefined };
    const peerOf = () => ({ spiffeId: cart.spiffeId, trustDomain: 'cluster.local' });
    const filter = peerFilter({ peerOf }, { mode, details: defaultClientCertDetails });
    await filter(call as never, async () => {});
    t.equal(headers['x-forwarded-client-cert'], seen, mode);
    t.match(call.peer, { spiffeId: cart.spiffeId });
  }
});

t.test('only what was asked for is told', async (t) => {
  const ask = await serverIn(t, 'SANITIZE_SET', { subject: false, uri: true, dns: false, cert: false, chain: false });
  t.match(await ask([], true), new RegExp(`^${from};Hash=[0-9a-f]{64};${own}$`));
});
