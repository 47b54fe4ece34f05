import { createHmac } from 'node:crypto';
import { jwksOf, makeToken, makeTokenKey, type TestKey } from '../../support/tokens.ts';
import { type Attack, type Input, readFixture } from './catalogue.ts';
import type { Layer, Outcome, Preparation, Script } from './layers.ts';
import { send } from './send.ts';
import type { Seen } from './ways.ts';

/** How the token of a case is made; see the fixture. */
interface TokenSpec {
  readonly alg?: string;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Claims that are left out. */
  readonly without?: readonly string[];
  /** The payload as text; `{claims}` are all claims and the brace behind them. */
  readonly payload?: string;
  /** The payload in hexadecimal. */
  readonly bytes?: string;
  /** Characters of a claim that makes the token long. */
  readonly pad?: number;
  readonly sign?: 'second' | 'attacker' | 'partner' | 'hmac' | 'none';
  /** What becomes of the finished token. */
  readonly raw?: 'last+1' | 'json';
  /** Header and value, with `{token}`. */
  readonly at?: readonly [string, string];
}

const first = makeTokenKey('RS256', { kid: 'k1', alg: 'RS256' });
const keys: Readonly<Record<string, TestKey>> = {
  second: makeTokenKey('RS256', { kid: 'k2', alg: 'RS256' }),
  attacker: makeTokenKey('RS256'),
  partner: makeTokenKey('RS256', { kid: 'k1', alg: 'RS256' }),
};
const second = keys['second'] as TestKey;

function timed(value: unknown): unknown {
  const [, sign, seconds] = (typeof value === 'string' && /^now([-+])(\d+)$/.exec(value)) || [];
  if (seconds === undefined) return value;
  return Math.floor(Date.now() / 1_000) + Number(`${sign}${seconds}`);
}

function tokenOf(spec: TokenSpec): string {
  const { alg = 'RS256', bytes, pad = 0, payload, sign = '', without = [] } = spec;
  const all = {
    iss: 'https://issuer.example',
    sub: 'ann',
    aud: 'shop',
    exp: timed('now+300'),
    ...spec.claims,
    ...(pad === 0 ? {} : { pad: 'x'.repeat(pad) }),
  };
  const claims = Object.fromEntries(
    Object.entries(all).flatMap(([name, value]) => (without.includes(name) ? [] : [[name, timed(value)]])),
  );
  const header = { ...(spec.header ?? { alg, kid: 'k1' }) };
  if (header['jwk'] === 'attacker') header['jwk'] = keys['attacker']?.jwk;
  const text = payload?.replace('{claims}', JSON.stringify(claims).slice(1));
  const token = makeToken({
    key: keys[sign] ?? first,
    alg,
    header,
    claims: bytes === undefined ? (text ?? claims) : Buffer.from(bytes, 'hex'),
  });
  const [h = '', p = '', s = ''] = token.split('.');
  if (sign === 'none') return `${h}.${p}.`;
  if (sign === 'hmac') {
    const secret = first.privateKey.export({ format: 'pem', type: 'pkcs8' });
    return `${h}.${p}.${createHmac('sha256', secret).update(`${h}.${p}`).digest('base64url')}`;
  }
  if (spec.raw === 'last+1') return token.slice(0, -1) + String.fromCharCode(token.charCodeAt(token.length - 1) + 1);
  if (spec.raw === 'json') return JSON.stringify({ payload: p, signatures: [{ protected: h, signature: s }] });
  return token;
}

function headersOf({ jwt = {} }: Input, token: string): readonly (readonly [string, string])[] {
  const [name, value] = (jwt as TokenSpec).at ?? ['authorization', 'Bearer {token}'];
  return [[name, value.replace('{token}', token)]];
}

/** The token is in the target, and the application must not see anything of it. */
const inTarget: Script = async (target, input) => {
  const token = tokenOf(input.jwt as TokenSpec);
  const given = { ...input, target: String(input.target).replaceAll('{token}', token) };
  return hidden(await send({ input: given } as Attack, target), token);
};

/** The token is in a header, and the application must not see anything of it. */
const inHeader: Script = async (target, input) => {
  const token = tokenOf(input.jwt as TokenSpec);
  return hidden(await send({ input } as Attack, target, headersOf(input, token)), token);
};

/** What no header can say is written so that it can be read, and nothing of it is raw. */
const escaped: Script = async (target, input) => {
  const token = tokenOf(input.jwt as TokenSpec);
  const outcome = await send({ input } as Attack, target, headersOf(input, token));
  if (outcome.status !== 200) return outcome;
  const user = (JSON.parse(outcome.body ?? '') as Seen).headers['x-user'];
  return user === '%F0%9F%98%80' ? { ...outcome, sanitised: true } : { ...outcome, problem: `x-user is ${user}` };
};

function hidden(outcome: Outcome, token: string): Outcome {
  const parts = token.split('.').filter((part) => part.length > 8);
  const leaked = parts.some((part) => outcome.body?.includes(part));
  return leaked ? { ...outcome, problem: 'a part of the token reached the application' } : outcome;
}

async function prepare(): Promise<Preparation> {
  return {
    values: {
      jwks: jwksOf(first),
      'jwks-two': jwksOf(first, second),
      'jwks-partner': jwksOf(keys['partner'] as TestKey),
    },
    token: async (input) => headersOf(input, tokenOf(input.jwt as TokenSpec)),
  };
}

const ids = (wanted: (target: string, id: string) => boolean): readonly string[] =>
  (readFixture('jwt').cases ?? []).flatMap(({ id, input }) => (wanted(String(input.target), id) ? [id] : []));

/** The layer JWT: tokens of an issuer whose keys the configuration has. */
export const jwtLayer: Layer = {
  name: 'jwt',
  prepare,
  scripts: {
    ...Object.fromEntries(ids((target) => target.includes('{token}')).map((id) => [id, inTarget])),
    'JWT-067': inHeader,
    'JWT-076': escaped,
  },
};
