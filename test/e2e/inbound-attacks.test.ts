import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { callOf } from '../../src/pipeline/server-call.ts';
import { makeAuthority } from '../support/certificates.ts';
import { type RawAnswer, rawExchange, shopWeb, type TestInbound, testInbound } from '../support/inbound.ts';

/**
 * Requests of people with bad intentions, with the decision that must be taken: each is written to
 * a socket byte by byte, and the policies are compiled from YAML, as in production.
 */
interface Attack {
  readonly id: string;
  readonly title: string;
  /** Names of configs, joined with ` + `. */
  readonly config: string;
  readonly input: {
    readonly kind: 'http1' | 'http1-raw' | 'http1-mtls' | 'http2';
    readonly method?: string;
    readonly target?: string;
    readonly headers?: Readonly<Record<string, string>> | readonly (readonly [string, string])[];
    readonly lines?: readonly string[];
    readonly peer?: string;
    readonly pseudo?: Readonly<Record<string, string>>;
  };
  readonly expected: { readonly decision: string; readonly status?: number };
}

const fixture = new URL('../fixtures/inbound-attacks.json', import.meta.url);
const { configs, cases } = JSON.parse(readFileSync(fixture, 'utf8')) as {
  readonly configs: Readonly<Record<string, string>>;
  readonly cases: readonly Attack[];
};

/** `{{text*count}}` in the catalogue. */
const expand = (text: string): string =>
  text.replace(/\{\{([\s\S]*?)\*(\d+)\}\}/g, (_, part: string, count: string) => part.repeat(Number(count)));

function snapshotOf(config: string): Snapshot {
  const yaml = config.split(' + ').map((name) => configs[name] ?? t.fail(`no config ${name}`));
  const { documents, problems } = parseYaml(yaml.join('\n---\n'));
  const result = compile(documents, { workload: shopWeb });
  if (problems.length > 0 || !result.ok) throw new Error(`${config}: ${JSON.stringify(result)}`);
  return result.snapshot;
}

function bytesOf({ input }: Attack): string {
  if (input.lines !== undefined) {
    const text = input.lines.map(expand).join('\r\n');
    return `${text}\r\n\r\n`;
  }
  const given = input.headers ?? {};
  const headers = (Array.isArray(given) ? given : Object.entries(given)) as (readonly [string, string])[];
  const host = headers.some(([name]) => name.toLowerCase() === 'host') ? [] : [['host', 'web'] as const];
  const lines = [...host, ...headers].map(([name, value]) => `${name}: ${expand(value)}\r\n`);
  return `${input.method} ${expand(input.target ?? '/')} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

const authority = makeAuthority();
const stranger = makeAuthority({ trustDomain: 'evil.example', intermediate: false });

async function attack(inbound: TestInbound, { input, ...rest }: Attack): Promise<RawAnswer | undefined> {
  const answers = input.lines?.filter((line) => line.includes(' HTTP/')).length ?? 1;
  if (input.kind === 'http2') return overHttp2(inbound.port, input);
  const { peer = '' } = input;
  const issuer = peer.startsWith('spiffe://evil.example/') ? stranger : authority;
  const tls = { ca: authority.rootPem, credentials: issuer.issue(peer || 'spiffe://cluster.local/ns/shop/sa/web') };
  const options = input.kind === 'http1-mtls' ? { tls, answers } : { answers };
  return (await rawExchange(inbound.port, bytesOf({ input, ...rest }), options)).at(-1);
}

function overHttp2(port: number, input: Attack['input']): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const session = connect(`http://127.0.0.1:${port}`);
    const stream = session.request({ ':path': '/', ...input.pseudo, ...(input.headers as object) });
    stream.on('response', (headers) => {
      resolve({ status: Number(headers[':status']), headers: {}, body: '' });
      session.destroy();
    });
    stream.on('error', () => resolve({ status: 0, headers: {}, body: '' }));
    stream.end();
  });
}

t.test('the catalogue of attacks on the inbound side', async (t) => {
  const inbound = await testInbound(
    (request, response) => {
      const seen = { ...request.headers, peer: callOf(request)?.peer?.spiffeId, url: request.url };
      const answer = JSON.stringify({ seen, raw: request.rawHeaders, distinct: request.headersDistinct });
      request.resume().on('end', () => response.end(answer));
    },
    { authority, federated: stranger },
  );
  t.teardown(() => inbound.acceptor.close());
  for (const each of cases) {
    inbound.use(snapshotOf(each.config));
    const answer = await attack(inbound, each);
    const { decision, status } = each.expected;
    const name = `${each.id} ${each.title}: ${decision}`;
    if (status !== undefined) t.equal(answer?.status, status, name);
    else if (decision === 'allow' || decision === 'bounded') t.equal(answer?.status, 200, name);
    else t.ok(answer === undefined || answer.status >= 400, name);
    if (decision === 'sanitise') {
      const { peer } = each.input;
      const forged = JSON.stringify(each.input.headers);
      for (const [, value] of Object.entries(JSON.parse(forged) as Record<string, string>)) {
        t.notOk(answer?.body.includes(`"${String(value)}"`), `${each.id}: nothing of ${String(value)} is left`);
      }
      if (peer !== undefined) t.match(answer?.body, `URI=${peer}`, `${each.id}: the application sees the real caller`);
    }
  }
  t.ok(cases.length > 90);
});
