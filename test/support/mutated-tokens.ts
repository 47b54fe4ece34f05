import { fixedKeys } from '../../src/jwt/keys.ts';
import { isFailure } from '../../src/jwt/token.ts';
import { verifyToken } from '../../src/jwt/verify.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { encode, jwksOf, makeToken, makeTokenKey, tokenRule } from './tokens.ts';

const now = 1_900_000_000;
const claims = { iss: 'https://issuer.example', sub: 'ann', aud: ['shop'], exp: now + 300, groups: ['a', { b: 1 }] };
const keys = [
  makeTokenKey('ES256', { kid: 'k1' }),
  makeTokenKey('RS256', { kid: 'k2' }),
  makeTokenKey('EdDSA', { kid: 'k3' }),
];
const [ec, rsa, ed] = keys as [(typeof keys)[0], (typeof keys)[0], (typeof keys)[0]];
const tokens = [
  makeToken({ key: ec, alg: 'ES256', claims, header: { alg: 'ES256', kid: 'k1', typ: 'JWT' } }),
  makeToken({ key: rsa, alg: 'RS256', claims, header: { alg: 'RS256', kid: 'k2', typ: 'JWT' } }),
  makeToken({ key: ed, alg: 'EdDSA', claims, header: { alg: 'EdDSA', typ: 'JWT' } }),
];
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \t\n\u0000\u00e9%';
const members = ['alg', 'kid', 'typ', 'crit', 'jwk', 'jku', 'x5u', 'b64', 'zip', '__proto__'];
const values = [
  'none',
  'HS256',
  'RS256',
  'ES256',
  'EdDSA',
  'PS256',
  'ES384',
  'k1',
  'k2',
  'k3',
  '',
  null,
  1,
  [],
  {},
  true,
];

let random = seededRandom(1);
const below = (bound: number): number => Math.floor(random() * bound);
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
const char = (): string => alphabet[below(alphabet.length)] as string;
const splice = (text: string, at: number, removed: number, added: string): string =>
  text.slice(0, at) + added + text.slice(at + removed);
const parts = (token: string): string[] => token.split('.');
const changed = (token: string, index: number, change: (object: Record<string, unknown>) => void): string => {
  const all = parts(token);
  const object = JSON.parse(Buffer.from(all[index] as string, 'base64url').toString()) as Record<string, unknown>;
  change(object);
  all[index] = encode(JSON.stringify(object));
  return all.join('.');
};

/** Ways to change a token; some may give the same one back, which does not count. */
const mutations: readonly ((token: string) => string)[] = [
  function bitFlip(token) {
    const all = parts(token);
    const index = below(3);
    const bytes = Buffer.from(all[index] as string, 'base64url');
    const at = below(bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << below(8));
    all[index] = bytes.toString('base64url');
    return all.join('.');
  },
  function replaceCharacter(token) {
    return splice(token, below(token.length), 1, char());
  },
  function insertCharacter(token) {
    return splice(token, below(token.length + 1), 0, char());
  },
  function dropCharacters(token) {
    return splice(token, below(token.length), 1 + below(8), '');
  },
  function swapCharacters(token) {
    const at = below(token.length - 1);
    return splice(token, at, 2, `${token[at + 1]}${token[at]}`);
  },
  function swapParts(token) {
    return parts(token)
      .sort(() => random() - 0.5)
      .join('.');
  },
  function dropPart(token) {
    return parts(token).toSpliced(below(3), 1).join('.');
  },
  function partOfAnother(token) {
    return parts(token)
      .with(below(3), parts(pick(tokens))[below(3)] as string)
      .join('.');
  },
  function headerMember(token) {
    return changed(token, 0, (header) => Object.assign(header, { [pick(members)]: pick(values) }));
  },
  function claim(token) {
    return changed(token, 1, (payload) => Object.assign(payload, { [pick(Object.keys(claims))]: pick(values) }));
  },
  function withoutHeaderMember(token) {
    return changed(token, 0, (header) => void delete header[pick(Object.keys(header))]);
  },
  function pad(token) {
    return parts(token)
      .map((part) => part + pick(['', '', '=', '==', 'A', 'AA', 'AAAA']))
      .join('.');
  },
];

const textual = mutations.slice(1, 5);

/** What came of mutated tokens. */
export interface MutationResults {
  /** The mutation and the token, of those that were accepted. */
  readonly accepted: readonly string[];
  /** How many were refused for which reason. */
  readonly refused: ReadonlyMap<string, number>;
}

/** Changes good tokens `count` times, and has each verified. The same for the same seed, but for the keys. */
export async function verifyMutatedTokens(count: number, seed: number): Promise<MutationResults> {
  random = seededRandom(seed);
  const live = [{ rule: tokenRule(jwksOf(...keys), { audiences: ['shop'] }), source: fixedKeys(jwksOf(...keys)) }];
  for (const token of tokens) {
    if (isFailure(await verifyToken(token, live, now * 1_000))) throw new Error('a token itself is not good');
  }
  const refused = new Map<string, number>();
  const accepted: string[] = [];
  for (let done = 0; done < count; ) {
    const mutate = pick(mutations);
    // What changes texts takes any text, so that a second change can follow.
    const once = mutate(pick(tokens));
    const mutated = below(4) === 0 ? pick(textual)(once) : once;
    if (tokens.includes(mutated)) continue;
    done++;
    const result = await verifyToken(mutated, live, now * 1_000);
    if (isFailure(result)) refused.set(result.reason, (refused.get(result.reason) ?? 0) + 1);
    else accepted.push(`${mutate.name}: ${mutated}`);
  }
  return { accepted, refused };
}
