import type { Test } from 'tap';
import { type Authority, createAuthority, serveAuthority } from '../../packages/ca/src/index.ts';
import { caSource } from '../../src/identity/ca-source.ts';
import type { Credentials, IdentitySource } from '../../src/identity/source.ts';

/** A member's source, and what it delivered last. */
export interface Member {
  readonly source: IdentitySource;
  newest(): Credentials | undefined;
}

/** The embedded authority, serving, for members in this process. */
export interface EmbeddedAuthority {
  readonly authority: Authority;
  /** A source for a service account of namespace `shop`, with a token that lasts. */
  member(name: string): Member;
}

/** Starts one for the length of a test. */
export async function embeddedAuthority(t: Test, leafTtlMs: number): Promise<EmbeddedAuthority> {
  const authority = createAuthority({ leafTtlMs });
  const { url, close } = await serveAuthority(authority, { requestsPerSecond: 1_000, burst: 1_000 });
  t.teardown(close);
  // The root of the beginning, for good: what comes after it is heard of.
  const trustRoot = authority.rootPem;
  return {
    authority,
    member: (name) => {
      const spiffeId = `spiffe://cluster.local/ns/shop/sa/${name}`;
      const { token } = authority.createToken({ spiffeId, uses: 1_000, ttlMs: 3_600_000 });
      const source = caSource({ url, trustRoot, spiffeId, token });
      let newest: Credentials | undefined;
      return {
        newest: () => newest,
        source: {
          name: source.name,
          run: (sink, signal) =>
            source.run(
              {
                ...sink,
                update: (credentials) => {
                  newest = credentials;
                  sink.update(credentials);
                },
              },
              signal,
            ),
        },
      };
    },
  };
}
