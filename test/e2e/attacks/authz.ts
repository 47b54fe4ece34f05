import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { compileAuthorization } from '../../../src/authz/decide.ts';
import { ruleForConnections } from '../../../src/authz/for-connections.ts';
import type { AuthorizationFacts } from '../../../src/authz/rule.ts';
import type { AuthorizationPolicy } from '../../../src/model/authorization.ts';
import type { Snapshot } from '../../../src/model/snapshot.ts';
import { parseAnswers, rawConnection, rawExchange, type TestPipeline, testPipeline } from '../../support/inbound.ts';
import { type Attack, bytesOf, type Input, readFixture } from './catalogue.ts';
import type { Layer, Outcome, Script } from './layers.ts';
import { compileYaml } from './runner.ts';
import { send, tlsOf } from './send.ts';

const fixture = readFixture('authz');
const configs = readFixture('configs').configs ?? {};

function snapshotOf(yaml: string): Snapshot {
  const made = compileYaml(yaml);
  if (!('inbound' in made)) throw new Error(made.join('\n'));
  return made;
}

/** A policy of the case is refused when it is loaded. */
function refused(id: string): () => Promise<Outcome> {
  const spec = fixture.cases?.find((each) => each.id === id)?.input['yaml'];
  const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n';
  return async () => {
    const made = compileYaml(`${head}${String(spec)}`);
    return 'inbound' in made ? { problem: 'the policy was taken' } : { status: 400 };
  };
}

const nobody: AuthorizationFacts = {
  peer: undefined,
  method: 'GET',
  path: '/',
  rawPath: '/',
  host: 'a',
  localPort: 8080,
  claims: undefined,
  sourceAddress: '127.0.0.1',
  remoteAddress: '127.0.0.1',
  destinationAddress: '127.0.0.1',
  sni: '',
  rawHeaders: [],
};

function decide(policies: readonly AuthorizationPolicy[], facts: Partial<AuthorizationFacts>): Outcome {
  return { status: compileAuthorization(policies)({ ...nobody, ...facts }) === undefined ? 200 : 403 };
}

/** For peers of trust domains that the servers do not trust: only the policy is asked. */
function asPeer(config: string, trustDomain: string): () => Promise<Outcome> {
  const peer = { spiffeId: `spiffe://${trustDomain}/ns/a/sa/b`, trustDomain, namespace: 'a', serviceAccount: 'b' };
  return async () => decide(snapshotOf(configs[config] ?? '').inbound.authorization, { peer });
}

/** Asks a server of the application's own, behind a pipeline. */
async function ask(
  { pipeline }: TestPipeline,
  host: string,
  prepare: (socket: Socket) => void = () => {},
): Promise<number | undefined> {
  const server = createServer((request, response) => {
    prepare(request.socket);
    pipeline.handle(request, response, () => response.end('{}'));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  try {
    const { port } = server.address() as AddressInfo;
    return (await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'))[0]?.status;
  } finally {
    pipeline.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A server for both families sees callers over IPv4 with mapped addresses. */
async function overBothFamilies(): Promise<Outcome> {
  const snapshot = snapshotOf(configs['allow-ip'] ?? '');
  let seen: string | undefined;
  let status: number | undefined;
  try {
    status = await ask(testPipeline(snapshot), '::', ({ remoteAddress }) => {
      seen = remoteAddress;
    });
  } catch (error) {
    // A machine without IPv6: the policy alone is asked.
    if (!/EAFNOSUPPORT|EADDRNOTAVAIL/.test(String(error))) throw error;
    return decide(snapshot.inbound.authorization, { sourceAddress: '::ffff:127.0.0.1' });
  }
  return seen?.startsWith('::ffff:') ? { status } : { problem: `the peer is ${seen}, which is not mapped` };
}

async function beforeConfiguration(): Promise<Outcome> {
  const late = testPipeline();
  late.use(undefined);
  return { status: await ask(late, '127.0.0.1') };
}

/** A fact that cannot be looked up makes deciding fail. */
async function brokenMatcher(): Promise<Outcome> {
  const status = await ask(testPipeline(snapshotOf(configs['allow-ip'] ?? '')), '127.0.0.1', (socket) => {
    Object.defineProperty(socket, 'remoteAddress', {
      get: () => {
        throw new RangeError('a matcher is broken');
      },
    });
  });
  return { status };
}

/** What is left of the ALLOW policies where there are no requests. */
async function withoutRequests(): Promise<Outcome> {
  const { authorization } = snapshotOf(configs['allow-public'] ?? '').inbound;
  const left = authorization.map((policy) => ({
    ...policy,
    rules: policy.rules.flatMap((rule) => ruleForConnections(rule, policy.action) ?? []),
  }));
  const { status } = decide(left, { method: '', path: '/public', host: '' });
  return status === 200 ? { problem: 'the connection was allowed' } : {};
}

const sendInput = (input: Input, target: Parameters<Script>[0]): Promise<Outcome> => send({ input } as Attack, target);

/** The port of a policy is the one that the server listens on, which is chosen by the system. */
const onOwnPort: Script = (target, input) => {
  target.use(target.yaml.replaceAll('8443', String(target.port)));
  return sendInput(input, target);
};

/** The configuration with a mistake is refused as a whole; what was in force stays in force. */
const withBroken: Script = async (target, input) => {
  const broken = `${target.yaml}\n---\n${configs['deny-admin']?.replaceAll('deny-admin', 'broken').replace('DENY', 'PERMIT')}`;
  const made = compileYaml(broken);
  if ('inbound' in made) return { problem: 'the broken policy was taken' };
  if (!made.some((problem) => problem.includes('PERMIT'))) return { problem: `not told: ${made.join()}` };
  return sendInput(input, target);
};

/** The head of the request is there, then the policy goes, then the rest of the body arrives. */
const removedMeanwhile: Script = async (target, input) => {
  const socket = rawConnection(target.port, target.port === target.securePort ? tlsOf(target) : undefined);
  const answered = new Promise<string>((resolve) => {
    let received = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
    });
    socket.on('error', () => {}).on('close', () => resolve(received));
  });
  socket.write(bytesOf(input).slice(0, -4));
  await once(socket, 'data');
  target.use(configs['none'] ?? '');
  socket.end('y');
  const [answer] = parseAnswers(await answered);
  return answer === undefined ? {} : { status: answer.status, body: answer.body };
};

/** The layer AUTHZ: what takes more than one request, and what needs no server. */
export const authzLayer: Layer = {
  name: 'authz',
  scripts: { 'AUTHZ-046': onOwnPort, 'AUTHZ-049': withBroken, 'AUTHZ-052': removedMeanwhile },
  alone: {
    'AUTHZ-011': refused('AUTHZ-011'),
    'AUTHZ-012': refused('AUTHZ-012'),
    'AUTHZ-014': refused('AUTHZ-014'),
    'AUTHZ-016': refused('AUTHZ-016'),
    'AUTHZ-026': asPeer('allow-trust-domain', 'td-1Xexample'),
    'AUTHZ-043': overBothFamilies,
    'AUTHZ-047': withoutRequests,
    'AUTHZ-054': beforeConfiguration,
    'AUTHZ-061': brokenMatcher,
  },
};
