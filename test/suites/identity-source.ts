/*
 * What every identity source promises, run for one of them:
 *
 *   identitySourceSuite(t, {
 *     name: 'files',
 *     make: async (t, clock) => ({ source: fileIdentitySource({ directory, clock }), issue, mismatch, garble, cutOff, reconnect, … }),
 *   });
 *
 * `make` sets up one peer (a folder, an authority, an agent) with nothing issued yet, and a source that
 * asks it and takes its time from `clock`. The suite plays the operator: it issues, breaks and cuts off
 * through the harness, and moves the clock: whenever the source sleeps it is woken, so a source that polls
 * or renews gets to do it at once, and one that is pushed to needs no clock at all. What is special about
 * a source (its protocol, its options, its waits in figures) stays in the source's own test.
 *
 * Give what is issued a life of an hour: the suite moves the clock by some of them, and the authorities of
 * test/support/certificates.ts live for a day.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Test } from 'tap';
import type { Credentials } from '../../src/identity/source.ts';
import { makeAuthority } from '../support/certificates.ts';
import { beginSource, type IdentitySourceUnderTest, type RunningSource } from './running-source.ts';

/** The newest credentials, which must be whole. */
function newest(t: Test, running: RunningSource): Credentials {
  const credentials = running.updates.at(-1);
  if (credentials === undefined) throw new Error('there was no update');
  t.equal(credentials.spiffeId, running.peer.spiffeId);
  const leaf = new X509Certificate(credentials.certificateChainPem);
  t.ok(leaf.checkPrivateKey(createPrivateKey(credentials.privateKeyPem)), 'the key is that of the certificate');
  t.equal(credentials.notAfter, leaf.validToDate.getTime());
  t.equal(credentials.notBefore, leaf.validFromDate.getTime());
  t.equal(running.store.current()?.credentials.certificateChainPem, credentials.certificateChainPem, 'it is in force');
  return credentials;
}

const ownRoots = ({ spiffeId, trustBundles }: Credentials): readonly string[] =>
  trustBundles.get(spiffeId.split('/')[2] as string) ?? [];
const has = (running: RunningSource, rootPem: string): boolean => {
  const credentials = running.updates.at(-1);
  return credentials !== undefined && ownRoots(credentials).some((root) => root.trim() === rootPem.trim());
};

/** What every identity source promises, run for one of them. */
export function identitySourceSuite(t: Test, under: IdentitySourceUnderTest): void {
  const { name } = under;
  /** A source that has its first credentials. */
  const withFirst = async (t: Test): Promise<RunningSource> => {
    const running = await beginSource(t, under);
    await running.peer.issue();
    await running.until('the first credentials', () => running.updates.length > 0);
    return running;
  };
  /** The last good credentials are in force although the source is in trouble. */
  const stillInForce = (t: Test, running: RunningSource, before: Credentials): void => {
    t.equal(running.updates.at(-1), before, 'nothing new was told');
    t.equal(running.store.current()?.credentials.certificateChainPem, before.certificateChainPem, 'the last one stays');
  };
  /** Lines of the log about one kind of trouble: the same trouble twice in a row is one. */
  const complaints = (running: RunningSource, level: 'error' | 'warn', word: RegExp): readonly string[] =>
    running.logger.messages(level).filter((message) => word.test(message));
  const recovers = async (t: Test, running: RunningSource, before: Credentials): Promise<void> => {
    await running.until('new credentials after the trouble', () => running.updates.at(-1) !== before);
    newest(t, running);
    t.equal(running.store.lastProblem(), undefined, 'the trouble is over');
  };

  t.test(`${name}: the first credentials are whole and in force`, async (t) => {
    const running = await withFirst(t);
    const { trustBundles } = newest(t, running);
    t.ok(trustBundles.size > 0);
    t.ok(ownRoots(newest(t, running)).length > 0, 'with the roots of the own trust domain');
    t.same(running.rejected, []);
    await running.stop();
  });

  t.test(`${name}: a rotation is an update with the new certificate and its own key`, async (t) => {
    const running = await withFirst(t);
    for (let round = 0; round < 3; round++) {
      const before = newest(t, running);
      await running.peer.issue();
      await running.until('the next credentials', () => running.updates.at(-1) !== before);
      const after = newest(t, running);
      t.not(after.certificateChainPem, before.certificateChainPem, 'another certificate');
      t.not(after.privateKeyPem, before.privateKeyPem, 'another key');
    }
    t.same(running.rejected, []);
    t.same(running.lost, []);
    await running.stop();
  });

  t.test(`${name}: a new certificate never goes with an old key`, async (t) => {
    const running = await withFirst(t);
    const before = newest(t, running);
    await running.peer.mismatch();
    await running.until('the refusal', () => running.rejected.length > 0);
    await running.wake(4);
    stillInForce(t, running, before);
    t.equal(complaints(running, 'error', /refused/).length, 1, 'said once');
    await running.peer.issue();
    await recovers(t, running, before);
    await running.stop();
  });

  t.test(`${name}: a root that is added is seen, and one that is removed`, async (t) => {
    const running = await withFirst(t);
    const next = makeAuthority({ name: 'the next root' });
    const first = ownRoots(newest(t, running));
    t.notOk(has(running, next.rootPem));
    await running.peer.issue({ extraRoots: [next.rootPem] });
    await running.until('the added root', () => has(running, next.rootPem));
    t.equal(ownRoots(newest(t, running)).length, first.length + 1);
    await running.peer.issue();
    await running.until('the root to go', () => !has(running, next.rootPem));
    t.same(ownRoots(newest(t, running)), first);
    await running.stop();
  });

  t.test(`${name}: what cannot be read is refused, once, and the last good credentials stay`, async (t) => {
    const running = await withFirst(t);
    const before = newest(t, running);
    await running.peer.garble();
    await running.until('the refusal', () => running.rejected.length > 0);
    await running.wake(4);
    stillInForce(t, running, before);
    t.equal(complaints(running, 'error', /refused/).length, 1, 'said once');
    await running.peer.issue();
    await recovers(t, running, before);
    await running.stop();
  });

  t.test(`${name}: credentials that have expired are refused`, async (t) => {
    const running = await withFirst(t);
    const before = newest(t, running);
    await running.peer.issue({ notAfter: running.clock.wallNow() - 60_000 });
    await running.until('the refusal', () => running.rejected.length > 0);
    t.match(running.rejected[0]?.message, /expired/);
    stillInForce(t, running, before);
    await running.peer.issue();
    await recovers(t, running, before);
    await running.stop();
  });

  t.test(`${name}: out of reach it keeps what it has, tries again, and recovers`, async (t) => {
    const running = await withFirst(t);
    const before = newest(t, running);
    await running.peer.cutOff();
    await running.until('the loss', () => running.lost.length > 0);
    const from = running.pauses.length;
    await running.wake(6);
    stillInForce(t, running, before);
    t.equal(complaints(running, 'warn', /out of reach/).length, 1, 'said once');
    const pauses = running.pauses.slice(from);
    t.ok(pauses.length >= 4, 'it goes on trying');
    t.ok(
      pauses.every((pause) => pause > 0),
      'with pauses',
    );
    if (under.polls !== true) t.ok((pauses.at(-1) ?? 0) > (pauses[0] ?? 0), `pauses that grow: ${pauses}`);
    await running.peer.reconnect();
    await running.until('the end of the trouble', () => running.store.lastProblem() === undefined);
    await running.peer.issue();
    await recovers(t, running, before);
    await running.stop();
  });

  t.test(`${name}: out of reach at the start it has nothing, and starts when its peer comes`, async (t) => {
    const running = await beginSource(t, under);
    await running.peer.issue();
    await running.peer.cutOff();
    await running.until('the loss', () => running.lost.length > 0);
    await running.wake(4);
    t.equal(running.updates.length, 0);
    t.equal(running.store.current(), undefined, 'no identity');
    await running.peer.reconnect();
    await running.until('the first credentials', () => running.updates.length > 0);
    newest(t, running);
    await running.stop();
  });

  t.test(`${name}: told to stop before it began, it says nothing and ends`, async (t) => {
    const running = await beginSource(t, under);
    await running.peer.issue();
    const sink = { update: t.fail, reject: t.fail, lost: t.fail };
    await running.peer.source.run(sink, AbortSignal.abort());
    t.equal(running.timers(), 0, 'no timer stays behind');
  });

  t.test(`${name}: told to stop in its first moment, it says nothing and ends`, async (t) => {
    const running = await beginSource(t, under);
    await running.peer.issue();
    await running.stop();
    t.same([running.updates, running.rejected, running.lost], [[], [], []]);
  });

  t.test(`${name}: told to stop while it is out of reach, it ends`, async (t) => {
    const running = await withFirst(t);
    await running.peer.cutOff();
    await running.until('the loss', () => running.lost.length > 0);
    await running.wake(1);
    await running.stop();
  });

  t.test(`${name}: told to stop while it waits for an answer, it ends`, async (t) => {
    const running = await beginSource(t, under);
    const { hang, asked } = running.peer;
    if (hang === undefined || asked === undefined) {
      t.pass('nothing of it can hang');
      return;
    }
    await running.peer.issue();
    await hang();
    await running.until('the request', asked);
    await running.stop();
    t.same([running.updates, running.rejected, running.lost], [[], [], []]);
  });

  t.test(`${name}: nothing secret is in what it says`, async (t) => {
    const running = await withFirst(t);
    for (const trouble of [running.peer.mismatch, running.peer.garble]) {
      const before = running.rejected.length;
      await trouble();
      await running.until('the refusal', () => running.rejected.length > before);
      const updates = running.updates.length;
      await running.peer.issue();
      await running.until('the end of the trouble', () => running.updates.length > updates);
    }
    await running.peer.cutOff();
    await running.until('the loss', () => running.lost.length > 0);
    const errors = [...running.rejected, ...running.lost].flatMap(withCauses);
    const said = `${errors.map((error) => `${error.stack} ${JSON.stringify(error)}`).join('\n')}${JSON.stringify(running.logger.lines)}${running.peer.source.name}`;
    t.ok(errors.length >= 3);
    t.notMatch(said, /PRIVATE KEY/);
    const keys = running.updates.map(({ privateKeyPem }) => privateKeyPem.split('\n')[1] as string);
    for (const secret of [...keys, ...(running.peer.secrets?.() ?? [])]) {
      t.notOk(said.includes(secret), 'a secret was said');
    }
    await running.stop();
  });
}

function withCauses(error: Error): readonly Error[] {
  return error.cause instanceof Error ? [error, ...withCauses(error.cause)] : [error];
}
