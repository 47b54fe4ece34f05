import type { NameResolver } from '../../src/runtime/resolver.ts';

/** For tests whose endpoints are addresses. */
export const noNames: NameResolver = {
  watch(name) {
    throw new Error(`nobody should ask for ${name} here`);
  },
  close: () => {},
};
