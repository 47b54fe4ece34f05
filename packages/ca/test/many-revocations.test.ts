import { randomBytes } from 'node:crypto';
import { createCsr, readPemCrls } from 'inmesh/identity';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { buildAuthority } from '../src/authority.ts';
import { memoryHoldings } from '../src/holdings.ts';
import { type IssuanceEntry, memoryIssuanceLog } from '../src/issuance-log.ts';
import { makeGeneration } from '../src/material.ts';
import { resolveOptions } from '../src/options.ts';
import { noRevocations } from '../src/revocation.ts';
import { memoryTokenStore } from '../src/tokens.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const cart = 'spiffe://cluster.local/ns/shop/sa/cart';

/** An authority with so many valid certificates of one identity. */
function crowded(count: number) {
  const clock = fakeClock();
  const logger = recordingLogger();
  const log = memoryIssuanceLog(clock);
  const now = clock.wallNow();
  const current = makeGeneration({ trustDomain: 'cluster.local', keyType: 'p-256', nameConstraints: true, now });
  const state = {
    tokens: memoryTokenStore(),
    log,
    store: memoryHoldings({ current, revocations: noRevocations }),
    extraCrls: [],
  };
  const open = () => buildAuthority(resolveOptions({ clock, logger }), state);
  const authority = open();
  authority.signCsr(createCsr(web, makeKey()), web);
  const [first] = log.all() as Iterable<IssuanceEntry>;
  for (let i = 1; i < count; i++) {
    log.append({ ...(first as IssuanceEntry), serial: `40${randomBytes(15).toString('hex')}` });
  }
  return { authority, logger, open };
}

t.test('members are told of 10,000 revoked certificates', async (t) => {
  const { authority } = crowded(10_000);
  t.equal(authority.revoke({ spiffeId: web, reason: 'keyCompromise' }).length, 10_000);
  const lists = authority.bundle().crls.flatMap((pem) => readPemCrls(pem, 'lists'));
  t.equal(
    lists.reduce((sum, { revoked }) => sum + revoked.size, 0),
    10_000,
  );
});

t.test('a list too long for members is kept from them and said; the authority goes on', async (t) => {
  const { authority, logger, open } = crowded(20_000);
  t.equal(authority.revoke({ spiffeId: web, reason: 'keyCompromise' }).length, 20_000);
  t.match(logger.messages('warn').join('\n'), /members get no revocation lists/);
  for (const each of [authority, open()]) {
    t.same(each.bundle().crls, []);
    t.ok(each.crls().some((pem) => pem.length > 1_048_576));
    t.equal(each.status().crl?.missing.length, 1);
    t.throws(() => each.renew(createCsr(web, makeKey()), web), { code: 'ERR_MESH_CA', reason: 'revoked' });
    t.ok(each.renew(createCsr(cart, makeKey()), cart));
  }
});
