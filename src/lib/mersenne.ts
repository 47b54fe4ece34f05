/**
 * MT19937, the 32-bit Mersenne Twister with its usual parameters (`std::mt19937`): the same sequence
 * for the same seed in every language. Each call of the result gives the next number of 32 bits.
 */
export function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(size);
  state[0] = seed;
  for (let i = 1; i < size; i++) {
    const before = state[i - 1] as number;
    state[i] = Math.imul(1_812_433_253, before ^ (before >>> 30)) + i;
  }
  let at = size;
  return () => {
    if (at === size) {
      twist(state);
      at = 0;
    }
    let value = state[at++] as number;
    value ^= value >>> 11;
    value ^= (value << 7) & 0x9d2c5680;
    value ^= (value << 15) & 0xefc60000;
    return (value ^ (value >>> 18)) >>> 0;
  };
}

const size = 624;
const middle = 397;

function twist(state: Uint32Array): void {
  for (let i = 0; i < size; i++) {
    const both = ((state[i] as number) & 0x80000000) | ((state[(i + 1) % size] as number) & 0x7fffffff);
    state[i] = (state[(i + middle) % size] as number) ^ (both >>> 1) ^ ((both & 1) === 0 ? 0 : 0x9908b0df);
  }
}
