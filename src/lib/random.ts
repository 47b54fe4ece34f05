import { randomBytes } from 'node:crypto';

/** Randomness as an input: uniform in [0, 1), like `Math.random`. Not for secrets. */
export type Random = () => number;

/**
 * A small fast generator (xorshift128), seeded. The same seed gives the same sequence, which makes
 * a balancer's picks or a back-off schedule repeatable in a test.
 */
export function seededRandom(seed: number): Random {
  // splitmix32 spreads a small seed over the whole state; an all-zero state would stay zero.
  let s = seed >>> 0;
  const mix = (): number => {
    s = (s + 0x9e3779b9) >>> 0;
    let z = s;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  let a = mix();
  let b = mix();
  let c = mix();
  let d = mix() | 1;
  return () => {
    const t = a ^ (a << 11);
    a = b;
    b = c;
    c = d;
    d = (d ^ (d >>> 19) ^ t ^ (t >>> 8)) >>> 0;
    return d / 4_294_967_296;
  };
}

/** The generator of this process, seeded from the operating system. */
export const systemRandom: Random = seededRandom(randomBytes(4).readUInt32LE());
