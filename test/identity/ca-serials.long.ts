import t from 'tap';
import { createAuthority } from '../../packages/ca/src/index.ts';
import { createCsr } from '../../src/identity/csr.ts';
import { makeKey } from '../support/certificates.ts';

t.setTimeout(600_000);

t.test('CA-012: 100,000 serial numbers are positive, of one length, random and unique', async (t) => {
  const authority = createAuthority();
  const id = 'spiffe://cluster.local/ns/shop/sa/web';
  const csr = createCsr(id, makeKey());
  const serials = new Set<string>();
  const ones = new Array<number>(128).fill(0);
  const count = 100_000;
  let misshapen = 0;
  for (let i = 0; i < count; i++) {
    const { serial } = authority.signCsr(csr, id);
    // Positive and 16 bytes: 0x40 to 0x7f first.
    if (!/^[4-7][0-9a-f]{31}$/.test(serial)) misshapen++;
    serials.add(serial);
    const bits = BigInt(`0x${serial}`);
    for (let bit = 0; bit < 128; bit++) if ((bits >> BigInt(bit)) & 1n) ones[bit] = (ones[bit] ?? 0) + 1;
  }
  t.equal(misshapen, 0);
  t.equal(serials.size, count, 'no number twice');
  // Half of the time one, within six standard deviations: 126 bits that nobody can guess.
  const random = ones.filter((seen) => Math.abs(seen - count / 2) < 6 * Math.sqrt(count / 4)).length;
  t.equal(random, 126);
});
