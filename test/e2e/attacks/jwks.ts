import { generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { coolDownMs } from '../../../src/jwt/remote-keys.ts';
import { jwksOf, makeToken, makeTokenKey } from '../../support/tokens.ts';
import { type Attack, type Input, quickCount } from './catalogue.ts';
import type { Layer, Outcome, Preparation, Script, Target } from './layers.ts';
import { compileYaml } from './runner.ts';
import { send } from './send.ts';
import { meshWays } from './ways.ts';

/** Attacks on the way of keys: issuers that fail, lie or lead astray, and tokens that make a process ask them. */

const [k1, k2] = ['k1', 'k2'].map((kid) => makeTokenKey('ES256', { kid }));
const keys = { k1, k2 } as Readonly<Record<string, NonNullable<typeof k1>>>;
const secret = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

/** What `/set/…` publishes, by path; else `k1`. */
const published = new Map<string, readonly string[]>();
/** How often each path was asked for. */
const asked = new Map<string, number>();
let numbers = 0;

const answers: Readonly<Record<string, (incoming: IncomingMessage, outgoing: ServerResponse) => void>> = {
  set: ({ url = '' }, outgoing) => outgoing.end(jwksOf(...(published.get(url) ?? ['k1']).map(keyOf))),
  down: ({ socket }) => socket.destroy(),
  failing: (_, outgoing) => outgoing.writeHead(500).end('SECRET'),
  page: (_, outgoing) => outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<p>SECRET'),
  huge: (_, outgoing) => outgoing.end(`{"keys":[],"x":"${'x'.repeat(10_485_760)}"}`),
  drip: (_, outgoing) => void outgoing.writeHead(200).write('{"keys":['),
  private: (_, outgoing) => outgoing.end(JSON.stringify({ keys: [k1?.jwk, { ...secret, kid: 'k2' }] })),
  redirect: (_, outgoing) => outgoing.writeHead(302, { location: '/set/elsewhere' }).end(),
};

function keyOf(kid: string): NonNullable<typeof k1> {
  const key = keys[kid];
  if (key === undefined) throw new Error(`no key ${kid}`);
  return key;
}

function tokenOf(kid: string, by = 'k1'): string {
  const claims = { iss: 'https://issuer.example', aud: 'shop', sub: 'a' };
  return makeToken({ alg: 'ES256', header: { alg: 'ES256', kid }, claims, key: keyOf(by) });
}

const bearer = (token: string) => [['authorization', `Bearer ${token}`]] as const;

async function prepare(): Promise<Preparation> {
  const server = createServer((incoming, outgoing) => {
    const { url = '' } = incoming;
    asked.set(url, (asked.get(url) ?? 0) + 1);
    incoming.socket.on('error', () => {});
    (answers[url.split('/')[1] ?? ''] ?? answers['failing'])?.(incoming, outgoing);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    values: { keys: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    token: async ({ jwt = {} }) => bearer(tokenOf(String(jwt['kid'] ?? 'k1'), String(jwt['by'] ?? 'k1'))),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Requests at a time in a flood. */
const lanes = 16;

/** A key set of its own for one run, and how to ask with a token. */
function withOwnSet(
  run: (
    ask: (kid: string, by?: string) => Promise<number | undefined>,
    path: string,
    target: Target,
    input: Input,
  ) => Promise<Outcome>,
): Script {
  return async (target: Target, input: Input) => {
    const path = `/set/${++numbers}`;
    target.use(target.yaml.replace('/set/own', path));
    const attack = { input } as Attack;
    return run(async (kid, by) => (await send(attack, target, bearer(tokenOf(kid, by)))).status, path, target, input);
  };
}

const expect = (what: string, found: unknown, wanted: unknown): string | undefined =>
  found === wanted ? undefined : `${what}: ${String(found)}, and not ${String(wanted)}`;

export const jwksLayer: Layer = {
  name: 'jwks',
  prepare,
  scripts: {
    'JWT-081': async (target, input) => {
      const before = asked.get('/set/elsewhere');
      const { status } = await send({ input } as Attack, target, bearer(tokenOf('k1')));
      if (asked.get('/set/elsewhere') !== before) return { problem: 'the redirect was followed' };
      const told = target.mesh.stats().jwks.find(({ url }) => url.endsWith('/redirect'));
      if (told?.keys !== 0 || !told.problem?.includes('redirects')) return { problem: `told: ${JSON.stringify(told)}` };
      for (const uri of ['http://169.254.169.254/latest/keys', 'https://[fe80::1]/keys', 'http://168.63.129.16/keys']) {
        const made = compileYaml(target.yaml.replace(/jwksUri: ".*"/, `jwksUri: "${uri}"`));
        if ('inbound' in made) return { problem: `${uri} was taken` };
        if (!made.join().includes('nothing is fetched from link-local')) return { problem: made.join() };
      }
      return { status };
    },
    'JWT-034': withOwnSet(async (ask, path, { full, way }, input) => {
      const problem = expect('before', await ask('k1'), 200);
      const began = performance.now();
      const count = full && way === meshWays[0] ? Number(input['n']) : quickCount(input);
      let other: number | undefined;
      const lane = async (first: number): Promise<void> => {
        for (let i = first; i < count && other === undefined; i += lanes) {
          const status = await ask(`random-${i}`);
          if (status !== 401) other = status ?? 0;
        }
      };
      await Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)));
      const known = expect('meanwhile', await ask('k1'), 200);
      // One before, one for the first key that is not known, and on a slow machine one more each time that it may.
      const most = 2 + Math.floor((performance.now() - began) / coolDownMs);
      const fetches = expect('fetches', Math.max(2, Math.min(asked.get(path) ?? 0, most)), asked.get(path));
      const wrong = problem ?? known ?? fetches;
      const figures = `${count} tokens, ${asked.get(path)} fetches`;
      return wrong === undefined ? { status: other ?? 401, figures } : { problem: wrong };
    }),
    'JWT-084': withOwnSet(async (ask, path) => {
      const before = expect('the old key', await ask('k1'), 200);
      published.set(path, ['k2', 'k1']);
      const [fresh, old] = await Promise.all([ask('k2', 'k2'), ask('k1')]);
      const wrong = before ?? expect('the old key meanwhile', old, 200) ?? expect('fetches', asked.get(path), 2);
      return wrong === undefined ? { status: fresh } : { problem: wrong };
    }),
    'JWT-085': withOwnSet(async (ask, path) => {
      const before = expect('before', await ask('k1'), 200);
      published.set(path, ['k2']);
      const wrong = before ?? expect('the new key', await ask('k2', 'k2'), 200);
      return wrong === undefined ? { status: await ask('k1') } : { problem: wrong };
    }),
  },
  alone: {
    'JWT-082': async () => {
      for (const uri of [
        'file:///etc/passwd',
        'ftp://issuer.example/k',
        'data:application/json,{}',
        'issuer.example/k',
      ]) {
        const yaml = `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec: {jwtRules: [{issuer: me, jwksUri: "${uri}"}]}`;
        if ('inbound' in compileYaml(yaml)) return { problem: `${uri} was taken` };
      }
      return { status: 400 };
    },
  },
};
