import { randomInt } from 'node:crypto';
import {
  parseSpiffeBundle,
  printable,
  type SpiffeBundle,
  silentLogger,
  systemClock,
  type TrustBundles,
} from 'inmesh/identity';
import { fetchBundle } from './bundle-fetch.ts';
import { checkLimits, checkOrder } from './bundle-limits.ts';
import { type CheckedRelation, checkRelation, endpointDomain } from './federation-relation.ts';
import type { StoredBundle } from './federation-store.ts';
import type { Federation, FederationOptions } from './federation-types.ts';
import { invalid } from './options.ts';
import { refusal } from './refusal.ts';

/** SPIFFE Federation, 4.1: when a bundle does not say. */
const defaultRefreshMs = 300_000;
const leastRefreshMs = 1_000;
const mostRefreshMs = 86_400_000;
const firstRetryMs = 1_000;

interface Member {
  relation: CheckedRelation;
  bundle?: SpiffeBundle;
  fetchedAt?: number;
  problem?: string;
  failures: number;
  started: boolean;
  /** The bundle that was given for the beginning, when it was none that was fetched. */
  readonly given: string | undefined;
  cancel: () => void;
  running?: Promise<void>;
  readonly abort: AbortController;
}

/**
 * Follows the bundle endpoints of other trust domains (SPIFFE Federation, 6): each is asked as
 * often as its bundle says, what comes counts for its own trust domain only, and the last good one
 * stays until another comes or the relation ends. A bundle with a lower sequence than the one in
 * force is older and is not taken.
 */
export function createFederation(options: FederationOptions): Federation {
  const { clock = systemClock, logger = silentLogger, ownRoots = () => [], store, trustDomain } = options;
  const random = options.random ?? (() => randomInt(1_000_000) / 1_000_000);
  const members = new Map<string, Member>();
  const listeners = new Set<() => void>();
  let current: TrustBundles = new Map();
  let broken = '';
  let following = false;
  let closed = false;

  const sorted = (): readonly Member[] =>
    [...members.values()].toSorted((a, b) => (a.relation.name < b.relation.name ? -1 : 1));

  const publish = (): void => {
    const next = new Map<string, readonly string[]>();
    for (const { bundle, relation } of sorted()) {
      if (bundle === undefined) continue;
      const before = next.get(relation.trustDomain) ?? [];
      next.set(relation.trustDomain, [...new Set([...before, ...bundle.x509Authorities])]);
    }
    if (JSON.stringify([...next]) === JSON.stringify([...current])) return;
    current = next;
    for (const listener of listeners) listener();
  };

  const refreshMs = ({ bundle }: Member): number =>
    Math.min(mostRefreshMs, Math.max(leastRefreshMs, bundle?.refreshHintMs ?? defaultRefreshMs));

  /** After a failure at the next regular time (6.2); sooner only while there is no bundle at all. */
  const delayMs = (member: Member): number => {
    const regular = refreshMs(member);
    const retry = member.bundle === undefined ? firstRetryMs * 2 ** Math.min(member.failures, 16) : regular;
    // Up to a tenth earlier, so that not all who were started together ask together.
    return Math.min(regular, retry) * (1 - random() / 10);
  };

  const later = (member: Member, ms: number): void => {
    member.cancel();
    if (!following || closed) return;
    member.started = true;
    member.cancel = clock.after(ms, () => void refresh(member));
  };

  const known = (member: Member): TrustBundles => {
    const domain = endpointDomain(member.relation);
    if (domain === undefined) return new Map();
    // Self-serving: the bundle of this very relation, and of no other.
    const own = member.bundle?.x509Authorities ?? [];
    if (domain === member.relation.trustDomain) return new Map([[domain, own]]);
    return domain === trustDomain ? new Map([[domain, ownRoots()]]) : current;
  };

  const refresh = (member: Member): Promise<void> => {
    member.cancel();
    member.running ??= take(member).finally(() => {
      delete member.running;
      if (isMember(member)) later(member, delayMs(member));
    });
    return member.running;
  };

  const checkRoom = (name: string, next: SpiffeBundle): void => {
    const others = [...members.values()].filter(({ relation }) => relation.name !== name);
    checkLimits(
      next,
      others.map(({ bundle }) => bundle),
    );
  };

  const isMember = (member: Member): boolean => members.get(member.relation.name) === member;

  const take = async (member: Member): Promise<void> => {
    const { name } = member.relation;
    const { signal } = member.abort;
    try {
      const text = await fetchBundle({ relation: member.relation, known: known(member), clock, signal });
      if (!isMember(member)) return;
      const next = parseSpiffeBundle(text, `bundle of ${member.relation.trustDomain}`);
      checkOrder(member.bundle, next);
      checkRoom(member.relation.name, next);
      store.saveBundle(name, { text, fetchedAt: clock.wallNow() });
      const fields = { relation: name, roots: next.x509Authorities.length, sequence: String(next.sequence ?? 'none') };
      if (member.bundle?.sequence !== next.sequence) logger.info(fields, 'a federated bundle has changed');
      if (next.x509Authorities.length === 0) logger.warn(fields, 'a federated bundle has no roots: nothing is trusted');
      member.bundle = next;
      member.fetchedAt = clock.wallNow();
      member.failures = 0;
      delete member.problem;
      publish();
    } catch (error) {
      if (!isMember(member)) return;
      member.failures++;
      member.problem = printable((error as Error).message);
      const inForce = member.bundle === undefined ? 'none' : `${member.bundle.x509Authorities.length} roots`;
      logger.warn({ relation: name, error: member.problem, inForce }, 'a federated bundle could not be fetched');
    }
  };

  const checkGiven = ({ name, trustDomain: of }: CheckedRelation, text: string): void => {
    const bundle = parseSpiffeBundle(text, `bundle of ${of}`);
    try {
      checkRoom(name, bundle);
    } catch (error) {
      throw invalid('federation: bundle', (error as Error).message);
    }
  };

  const begin = (relation: CheckedRelation): Member => {
    const stored = store.bundle(relation.name);
    const given = givenIn(stored);
    const abort = new AbortController();
    const member: Member = { relation, failures: 0, started: false, given, cancel: () => {}, abort };
    if (stored !== undefined) restore(member, stored);
    members.set(relation.name, member);
    return member;
  };

  const restore = (member: Member, { fetchedAt, text }: StoredBundle): void => {
    try {
      const bundle = parseSpiffeBundle(text, `bundle of ${member.relation.trustDomain}`);
      checkRoom(member.relation.name, bundle);
      member.bundle = bundle;
      if (fetchedAt !== undefined) member.fetchedAt = fetchedAt;
    } catch (error) {
      member.problem = (error as Error).message;
      logger.error({ relation: member.relation.name, error: member.problem }, 'a stored bundle cannot be read');
    }
  };

  const end = (member: Member): void => {
    member.cancel();
    members.delete(member.relation.name);
    member.abort.abort();
  };

  const read = (): void => {
    const found = store.list();
    if (found.broken.join('\n') !== broken) {
      broken = found.broken.join('\n');
      for (const problem of found.broken) logger.error({ problem }, 'a relation cannot be read; it is not followed');
    }
    const wanted = new Map(found.relations.map((relation) => [relation.name, relation]));
    for (const member of [...members.values()]) {
      const { name } = member.relation;
      const now = wanted.get(name);
      const given = givenIn(store.bundle(name));
      // A bundle that somebody puts there by hand is the latest until the next one is fetched (4.2).
      const renewed = given !== undefined && given !== member.given;
      if (renewed || JSON.stringify(now) !== JSON.stringify(member.relation)) end(member);
    }
    for (const relation of wanted.values()) if (!members.has(relation.name)) begin(relation);
    publish();
  };

  const find = (name: string): Member => {
    const member = members.get(name);
    if (member === undefined) throw refusal('not_found', `there is no relation ${JSON.stringify(name.slice(0, 100))}`);
    return member;
  };

  read();
  return {
    bundles: () => current,
    status: () =>
      sorted().map((member) => {
        const { bundle, fetchedAt, problem, relation } = member;
        return {
          relation,
          refreshMs: refreshMs(member),
          ...(bundle === undefined ? {} : { roots: bundle.x509Authorities.length }),
          ...(bundle?.sequence === undefined ? {} : { sequence: bundle.sequence }),
          ...(fetchedAt === undefined ? {} : { fetchedAt }),
          ...(problem === undefined ? {} : { problem }),
        };
      }),
    add: (relation, text) => {
      const checked = checkRelation(relation, trustDomain);
      const domain = endpointDomain(checked);
      if (text !== undefined) checkGiven(checked, text);
      else if (domain === checked.trustDomain) {
        throw invalid('federation: bundle', 'https_spiffe needs a bundle of the trust domain for the beginning');
      }
      const before = members.get(checked.name);
      if (before !== undefined) end(before);
      // The relation last: whoever follows the store never sees it with the bundle of another.
      if (text === undefined) store.dropBundle(checked.name);
      else store.saveBundle(checked.name, { text });
      store.save(checked);
      const member = begin(checked);
      publish();
      later(member, 0);
    },
    remove: (name) => {
      const member = members.get(name);
      if (member !== undefined) end(member);
      const removed = store.remove(name);
      publish();
      return removed;
    },
    fetch: async (name) => {
      const member = find(name);
      await refresh(member);
      if (member.problem !== undefined) throw refusal('unavailable', `${name}: ${member.problem}`);
    },
    sync: () => {
      if (closed) return;
      read();
      following = true;
      for (const member of members.values()) if (!member.started && member.running === undefined) later(member, 0);
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => {
      closed = true;
      for (const member of [...members.values()]) {
        member.cancel();
        member.abort.abort();
      }
      listeners.clear();
    },
  };
}

function givenIn(stored: StoredBundle | undefined): string | undefined {
  return stored?.fetchedAt === undefined ? stored?.text : undefined;
}
