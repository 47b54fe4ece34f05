import { type Fields, rawHttp2 } from '../../support/http2-raw-client.ts';
import { type RawOptions, rawExchange } from '../../support/inbound.ts';
import { type Attack, answersOf, bytesOf, expand, headersOf, type Input } from './catalogue.ts';
import type { Outcome, Target } from './layers.ts';

/** Who calls over TLS where a case does not say. */
const nobody = 'spiffe://cluster.local/ns/nowhere/sa/nobody';

/** How long an answer may take, milliseconds: whoever is not answered by then hangs. */
const patienceMs = 5_000;

type Pairs = readonly (readonly [string, string])[];

/** What proves a peer to the target. */
export function tlsOf({ authority, strangers }: Target, peer: string = nobody): NonNullable<RawOptions['tls']> {
  const domain = peer.split('/')[2] ?? '';
  const issuer = strangers.find(({ trustBundles }) => trustBundles.has(domain)) ?? authority;
  return { ca: authority.rootPem, credentials: issuer.issue(peer) };
}

/** Sends one request of a case, its bytes as they are, and reads the answer. */
export async function send({ input }: Attack, target: Target, more: Pairs = []): Promise<Outcome> {
  return target.way.speaks === 'HTTP/1.1' ? sendHttp1(input, target, more) : sendHttp2(input, target, more);
}

async function sendHttp1(input: Input, target: Target, more: Pairs): Promise<Outcome> {
  const secure = target.port === target.securePort && (input.peer !== undefined || input.kind === 'http1-mtls');
  const answers = answersOf(input);
  const options: RawOptions = secure ? { tls: tlsOf(target, input.peer), answers } : { answers };
  const given = await within(rawExchange(target.port, bytesOf(input, more), options), []);
  const last = given.at(-1);
  return last === undefined ? {} : { status: last.status, body: last.body };
}

async function sendHttp2(input: Input, target: Target, more: Pairs): Promise<Outcome> {
  const tls = target.way.speaks === 'h2' ? tlsOf(target, input.peer) : undefined;
  const client = rawHttp2(target.port, tls === undefined ? {} : { tls });
  client.request(1, target.way.grpc === true ? asGrpc(fieldsOf(input, more)) : fieldsOf(input, more));
  const stream = (): ReturnType<typeof client.streams.get> => client.streams.get(1);
  await client.until(() => stream()?.ended === true || stream()?.reset !== undefined, patienceMs);
  client.destroy();
  const outcome = stream();
  const { body = '', status } = outcome ?? {};
  if (target.way.grpc !== true || status !== 200) return { status, body };
  if (outcome?.grpc === undefined) return { problem: 'it was answered without a status of gRPC' };
  if (outcome.grpc !== 0 && body !== '') return { problem: `it was refused with a body: ${body}` };
  return { status: statuses[outcome.grpc], body };
}

/** What a status of gRPC stands for; those that stand for many are no more than a refusal. */
const statuses: Readonly<Record<number, number>> = {
  0: 200,
  4: 504,
  7: 403,
  8: 429,
  12: 404,
  13: 400,
  14: 503,
  16: 401,
};

function asGrpc(fields: Fields): Fields {
  const changed = fields.map(([name, value]) => [name, name === ':method' ? 'POST' : value] as const);
  return [...changed, ['content-type', 'application/grpc'], ['te', 'trailers']];
}

/** A request of the catalogue as HTTP/2 has it. */
export function fieldsOf(input: Input, more: Pairs = []): Fields {
  const headers = [...headersOf(input), ...more].map(([name, value]) => [name.toLowerCase(), value] as const);
  const host = headers.find(([name]) => name === 'host')?.[1];
  const given = input.pseudo ?? {};
  const pseudo: Record<string, string> = {
    ':method': input.method ?? 'GET',
    ':scheme': 'http',
    ':authority': host ?? 'web',
    ':path': expand(input.target ?? '/'),
    ...given,
  };
  // With an `:authority` of its own, the Host header stands beside it.
  const others = given[':authority'] === undefined ? headers.filter(([name]) => name !== 'host') : headers;
  return [...Object.entries(pseudo), ...others];
}

function within<T>(promise: Promise<T>, otherwise: T): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(otherwise), patienceMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
