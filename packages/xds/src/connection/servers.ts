import type { MeshError } from 'inmesh/identity';
import type { ProtocolSession, SessionParts } from '../protocol/session.ts';
import type { XdsServer } from '../setup/server.ts';
import { type Follower, type FollowParts, follow, type ServerStatus } from './follow.ts';

export interface ServersParts
  extends Omit<FollowParts, 'server' | 'session' | 'receive' | 'ended' | 'silent' | 'requested'> {
  /** In order of preference. */
  readonly servers: readonly XdsServer[];
  readonly receive: FollowParts['receive'];
  makeSession(known: SessionParts['known']): ProtocolSession;
  /** Whether there is all that was asked for. */
  complete(): boolean;
  /** Requests went out to the control plane that counts. */
  requested(): void;
  /** The stream that counts is gone. */
  disconnected(): void;
  /** None of the control planes can be reached. */
  lost(reason: MeshError): void;
}

export interface Servers {
  watchesChanged(): void;
  /** There is time for further responses. */
  readOn(): void;
  status(): readonly ServerStatus[];
  /** The session of the control plane that counts. */
  session(): ProtocolSession | undefined;
  /** Index of the control plane that counts. */
  active(): number | undefined;
  close(): void;
}

/**
 * Follows several control planes, one of which counts (gRFC A71): the first. The next one is asked as
 * well when the one before cannot be reached and something is missing; as soon as one that is preferred
 * answers, the others are left.
 */
export function followServers(parts: ServersParts): Servers {
  const { servers } = parts;
  const followers: Follower[] = [];
  /** Whose resources the cache holds. */
  let active: number | undefined;

  const failed = (index: number, reason: MeshError): void => {
    if (index + 1 < servers.length && !parts.complete()) {
      if (index + 1 === followers.length) start(index + 1);
    } else if (followers.every((follower) => follower.status().state === 'waiting')) {
      parts.lost(reason);
    }
  };

  const start = (index: number): void => {
    const server = servers[index] as XdsServer;
    followers[index] = follow({
      ...parts,
      server,
      session: () => parts.makeSession(active === index),
      requested() {
        if (active === undefined || index <= active) parts.requested();
      },
      receive(received, done, failed) {
        if (active !== undefined && index > active) return;
        active = index;
        for (const other of followers.splice(index + 1)) other.close();
        parts.receive(received, done, failed);
      },
      ended(reason, productive) {
        if (active === undefined || index <= active) parts.disconnected();
        if (!productive) failed(index, reason);
      },
      silent(reason) {
        // Those who have everything already need no answer: nothing has changed.
        if (!parts.complete()) failed(index, reason);
      },
    });
  };
  start(0);

  return {
    watchesChanged() {
      for (const follower of followers) follower.watchesChanged();
    },
    readOn() {
      for (const follower of followers) follower.readOn();
    },
    status: () =>
      servers.map((server, index) => {
        const nobody: ServerStatus = { address: server.address, state: 'idle', streams: 0 };
        return followers[index]?.status() ?? nobody;
      }),
    session: () => followers[active ?? 0]?.session(),
    active: () => active,
    close() {
      for (const follower of followers) follower.close();
    },
  };
}
