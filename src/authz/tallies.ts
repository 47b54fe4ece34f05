/** How often authorization said something so far; see {@link createTallies}. */
export interface AuthorizationCount {
  /** `<namespace>/<name>` of the policy whose rule matched; `none` when none did. */
  readonly policy: string;
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT';
  /** `matched`: an AUDIT policy did. */
  readonly result: 'allowed' | 'denied' | 'matched';
  /** It was only tried out (`istio.io/dry-run`): what would have been. */
  readonly dryRun: boolean;
  readonly requests: number;
}

/** One counter. */
export interface Tally {
  count: number;
}

/** The counters of all policies. They only grow, and go with their policy. */
export interface Tallies {
  /** The counter with these labels, made on first use. */
  of(labels: Omit<AuthorizationCount, 'requests'>): Tally;
  /** Forgets the counters of policies that are not among these. */
  keep(policies: ReadonlySet<string>): void;
  counts(): readonly AuthorizationCount[];
}

/** Label of what no policy did. No policy is called so: their names have a slash. */
export const noPolicy = 'none';

export function createTallies(): Tallies {
  const all = new Map<string, Tally & { readonly labels: Omit<AuthorizationCount, 'requests'> }>();
  return {
    of(labels) {
      const key = `${labels.policy} ${labels.action} ${labels.result} ${labels.dryRun}`;
      let tally = all.get(key);
      if (tally === undefined) all.set(key, (tally = { labels, count: 0 }));
      return tally;
    },
    keep(policies) {
      for (const [key, { labels }] of all) {
        if (labels.policy !== noPolicy && !policies.has(labels.policy)) all.delete(key);
      }
    },
    counts: () =>
      [...all.values()].flatMap(({ labels, count }) => (count === 0 ? [] : [{ ...labels, requests: count }])),
  };
}
