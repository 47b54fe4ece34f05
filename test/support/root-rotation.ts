import type { Test } from 'tap';
import { request } from 'undici';
import { createCsr, generateIdentityKey } from '../../src/identity/csr.ts';
import { readPemCertificates } from '../../src/identity/pem.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { embeddedAuthority, type Member } from './embedded-authority.ts';
import { testMesh } from './mesh-pair.ts';

/** What came of it. */
export interface RootRotationOutcome {
  /** Answers with their counts: `200 by spiffe://…`, `failed: …`. */
  readonly answers: Readonly<Record<string, number>>;
  readonly calls: number;
  /** Steps that were taken, with the number of calls before each. */
  readonly steps: readonly (readonly [string, number])[];
  /** Certificates that were issued: to the two members mostly. */
  readonly certificates: number;
}

const rootsOf = ({ trustBundles }: Credentials): number => trustBundles.get('cluster.local')?.length ?? 0;
const signerOf = ({ certificateChainPem }: { readonly certificateChainPem: string }): string =>
  readPemCertificates(certificateChainPem, 'chain')[1]?.subject ?? '';

/**
 * Two meshes call each other while the root of their authority is exchanged: each step as soon as
 * `every` further calls were made and both members are where the step before leads to.
 */
export async function exchangeRootUnderLoad(
  t: Test,
  options: {
    readonly calls: number;
    readonly every: number;
    readonly leafTtlMs: number;
    /** Whether somebody else is revoked before it begins, so that members check revocation lists all the while. */
    readonly lists?: boolean;
  },
): Promise<RootRotationOutcome> {
  const { authority, member } = await embeddedAuthority(t, options.leafTtlMs);
  const members = [member('client'), member('server')] as const;
  const mesh = testMesh(t);
  const [client, server] = [
    await mesh.join('client', { identity: members[0].source }),
    await mesh.join('server', { identity: members[1].source }),
  ];
  await mesh.serve(server, (_request, response) => response.end('hello'));

  const all = (wanted: (credentials: Credentials) => boolean): boolean =>
    members.every((each: Member) => {
      const newest = each.newest();
      return newest !== undefined && wanted(newest);
    });
  if (options.lists === true) {
    const stranger = 'spiffe://cluster.local/ns/shop/sa/stranger';
    authority.signCsr(createCsr(stranger, generateIdentityKey()), stranger);
    authority.revoke({ spiffeId: stranger });
    if (authority.bundle().crls.length === 0) throw new Error('there are no lists');
  }
  const { rotation } = authority;
  /** Each step: whether it may be taken, and what it does. */
  const plan: readonly (readonly [string, () => boolean, () => void])[] = [
    ['prepare', () => true, () => rotation.prepare()],
    ['activate', () => all((held) => rootsOf(held) === 2), () => rotation.activate()],
    [
      'finish',
      () =>
        all((held) => signerOf(held) === signerOf(authority.issueServer(['probe']))) &&
        authority.status().rotation?.validOfOther === 0,
      () => rotation.finish(),
    ],
    ['done', () => all((held) => rootsOf(held) === 1), () => {}],
  ];
  const answers: Record<string, number> = {};
  const steps: [string, number][] = [];
  let calls = 0;
  let due = options.every;
  const worker = async (): Promise<void> => {
    while (calls < options.calls || steps.length < plan.length) {
      calls++;
      const answer = await request('http://server/', { dispatcher: client.dispatcher }).then(
        async ({ statusCode, body }) => `${statusCode} ${await body.text()}`,
        (error: Error) => `failed: ${error.message} ${String(error.cause)}`,
      );
      answers[answer] = (answers[answer] ?? 0) + 1;
      const next = plan[steps.length];
      // Looking at the log of the authority takes a while; once in a hundred calls is often enough.
      if (calls < due || next === undefined) continue;
      due = calls + 100;
      const [name, isReady, take] = next;
      if (!isReady()) continue;
      take();
      steps.push([name, calls]);
      due = calls + options.every;
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return { answers, calls, steps, certificates: authority.status().issued.total };
}
