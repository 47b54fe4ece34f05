import { type Random, seededRandom } from '../../../src/lib/random.ts';

/** Chance that can be had again: the same seed throws the same bytes. */
export interface Dice {
  readonly random: Random;
  /** Whole, from 0 and below `limit`. */
  below(limit: number): number;
  pick<T>(list: readonly T[]): T;
  chance(probability: number): boolean;
  /** So many things, at most. */
  several<T>(most: number, make: () => T): T[];
}

export function diceOf(seed: number): Dice {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  return {
    random,
    below,
    pick: (list) => list[below(list.length)] as (typeof list)[number],
    chance: (probability) => random() < probability,
    several: (most, make) => Array.from({ length: below(most + 1) }, make),
  };
}

const nasty = [0x00, 0x0a, 0x0d, 0x20, 0x09, 0x2f, 0x3a, 0x7f, 0x80, 0xff, 0x16, 0x50];

/** Changes, takes out, puts in or repeats some bytes. */
export function spoil(bytes: Buffer, dice: Dice): Buffer {
  let spoilt = Buffer.from(bytes);
  for (let i = dice.below(4); i >= 0; i--) {
    const at = dice.below(spoilt.length + 1);
    const end = Math.min(spoilt.length, at + 1 + dice.below(8));
    switch (dice.below(5)) {
      case 0:
        if (at < spoilt.length) spoilt[at] = dice.chance(0.5) ? dice.pick(nasty) : dice.below(256);
        break;
      case 1:
        spoilt = Buffer.concat([spoilt.subarray(0, at), spoilt.subarray(end)]);
        break;
      case 2:
        spoilt = Buffer.concat([spoilt.subarray(0, at), Buffer.from([dice.pick(nasty)]), spoilt.subarray(at)]);
        break;
      case 3:
        spoilt = Buffer.concat([spoilt.subarray(0, end), spoilt.subarray(at)]);
        break;
      default:
        spoilt = spoilt.subarray(0, dice.chance(0.5) ? at : spoilt.length);
    }
  }
  return spoilt;
}
