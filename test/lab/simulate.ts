import { ReportMemory } from '../../src/balance/utilization.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { type Random, seededRandom } from '../../src/lib/random.ts';
import { type BalancerChoice, isByKey, SimulatedClient, type SimulatedEndpoint } from './client.ts';
import { createEventQueue } from './event-queue.ts';
import { createLatencies, type Latencies } from './latencies.ts';
import { type ServerKind, SimulatedServer } from './server.ts';

/** A world in which balancers are compared. Times are milliseconds. */
export interface World {
  readonly clients: number;
  readonly servers: readonly ServerKind[];
  /** Requests a second of all clients together. They come at random, one independent of the other. */
  readonly rps: number;
  readonly lengthMs: number;
  /** What began before is not counted: balancers have to learn. */
  readonly measureFromMs: number;
  /** A client waits so long for a response. */
  readonly timeoutMs: number;
  /** Retries after a connection that failed, or was reset; at once and elsewhere. */
  readonly retries: number;
  /** Servers that die and begin anew, and when clients are told. */
  readonly deaths?: Deaths;
}

export interface Deaths {
  readonly servers: readonly number[];
  readonly atMs: number;
  /** Clients learn that they are gone. */
  readonly noticedMs: number;
  /** They are back, cold, and clients learn of it. */
  readonly backMs: number;
}

/** What came out. */
export interface Outcome {
  readonly latencies: Latencies;
  readonly requests: number;
  readonly errors: number;
  /** By server: requests that arrived there, retries included. */
  readonly loads: readonly number[];
  /** By server: clients that have a connection to it. */
  readonly connections: readonly number[];
}

/** One request on its way. */
interface Request {
  client: number;
  /** Where endpoints are chosen by key. */
  hash: bigint | undefined;
  startedAt: number;
  tryStartedAt: number;
  retriesLeft: number;
  endpoint: SimulatedEndpoint | undefined;
  failed: boolean;
  status: number;
  /** Whether the event that was announced for this request still counts. */
  turn: number;
}

/** Runs a world with one balancer. The same seed gives the same outcome, to the last bit. */
export function simulate(world: World, choice: BalancerChoice, seed: number): Outcome {
  return new Simulation(world, choice, seed).run();
}

/** An event is the place of its request, and which turn of it is meant; both in 31 bits. */
const maxTurns = 16_384;

class Simulation {
  readonly #world: World;
  readonly #policy: BalancerChoice['policy'];
  readonly #servers: readonly SimulatedServer[];
  readonly #clients: readonly SimulatedClient[];
  readonly #queue = createEventQueue();
  readonly #latencies = createLatencies();
  readonly #arrivals: Random;
  /** Hashes of the keys that requests have. */
  readonly #keys: BigUint64Array | undefined;
  /** By client and server: is there a connection? */
  readonly #connected: Uint8Array;
  readonly #pool: Request[] = [];
  readonly #free: number[] = [];
  #now = 0;
  #requests = 0;
  #errors = 0;

  constructor(world: World, choice: BalancerChoice, seed: number) {
    this.#world = world;
    this.#policy = choice.policy;
    // What arrives, and how long servers work, is the same for every balancer as far as it can be.
    this.#arrivals = seededRandom(seed);
    const service = seededRandom(seed + 1);
    this.#servers = world.servers.map((kind, i) => new SimulatedServer(`10.0.${i >> 8}.${i & 255}:80`, kind, service));
    const clock: Clock = {
      now: () => this.#now,
      wallNow: () => this.#now,
      after: () => () => {},
      afterIo: () => {},
    };
    const draws = seededRandom(seed + 2);
    this.#connected = new Uint8Array(world.clients * world.servers.length);
    const one = (i: number): SimulatedClient => new SimulatedClient(`client-${i}`, choice, clock, draws);
    if (isByKey(choice)) {
      // All would make the same table of their own; they share one here.
      const shared = one(0);
      this.#clients = Array.from({ length: world.clients }, () => shared);
      const half = (): bigint => BigInt(Math.floor(draws() * 4_294_967_296));
      this.#keys = BigUint64Array.from({ length: keyCount }, () => (half() << 32n) | half());
    } else this.#clients = Array.from({ length: world.clients }, (_, i) => one(i));
    this.#tell(() => true);
  }

  run(): Outcome {
    const { lengthMs, rps, clients, deaths } = this.#world;
    const plan: { readonly at: number; readonly run: () => void }[] = [];
    for (let at = 1_000; at <= lengthMs; at += 1_000) {
      plan.push({ at, run: () => this.#sample() });
    }
    if (deaths !== undefined) {
      const mortal = new Set(deaths.servers);
      plan.push({ at: deaths.atMs, run: () => this.#kill(mortal) });
      plan.push({ at: deaths.noticedMs, run: () => this.#tell((server) => !mortal.has(server)) });
      plan.push({
        at: deaths.backMs,
        run: () => {
          for (const server of mortal) (this.#servers[server] as SimulatedServer).start(deaths.backMs);
          this.#tell(() => true);
        },
      });
    }
    plan.sort((a, b) => a.at - b.at);

    let planned = 0;
    let arrival = this.#gap(rps);
    for (;;) {
      const due = plan[planned]?.at ?? Number.POSITIVE_INFINITY;
      const answered = this.#queue.next();
      const at = Math.min(due, arrival, answered);
      if (at > lengthMs) break;
      this.#now = at;
      if (at === due) plan[planned++]?.run();
      else if (at === answered) this.#end(this.#queue.take());
      else {
        this.#begin(Math.floor(this.#arrivals() * clients));
        arrival = at + this.#gap(rps);
      }
    }
    return {
      latencies: this.#latencies,
      requests: this.#requests,
      errors: this.#errors,
      loads: this.#servers.map(({ load }) => load),
      connections: this.#servers.map(({ connections }) => connections),
    };
  }

  #sample(): void {
    for (const server of this.#servers) server.sample(this.#now);
  }

  /** Time to the next arrival. */
  #gap(rps: number): number {
    return (-Math.log(1 - this.#arrivals()) * 1_000) / rps;
  }

  #tell(isThere: (server: number) => boolean): void {
    const names = new Map(this.#servers.flatMap(({ name }, i) => (isThere(i) ? [[i, name] as const] : [])));
    for (const client of new Set(this.#clients)) client.discover(names);
  }

  #kill(mortal: ReadonlySet<number>): void {
    for (const server of mortal) (this.#servers[server] as SimulatedServer).die();
    // Connections break: whoever waits there knows at once.
    this.#pool.forEach((request, id) => {
      if (request.endpoint === undefined || !mortal.has(request.endpoint.server)) return;
      request.failed = true;
      request.status = 0;
      request.turn++;
      this.#queue.add(this.#now, id * maxTurns + (request.turn % maxTurns));
    });
  }

  #begin(client: number): void {
    const id = this.#free.pop() ?? this.#pool.length;
    const before = this.#pool[id];
    const request: Request = before ?? {
      client: 0,
      hash: undefined,
      startedAt: 0,
      tryStartedAt: 0,
      retriesLeft: 0,
      endpoint: undefined,
      failed: false,
      status: 0,
      turn: 0,
    };
    if (before === undefined) this.#pool.push(request);
    request.client = client;
    if (this.#keys !== undefined) request.hash = this.#keys[Math.floor(this.#arrivals() * this.#keys.length)];
    request.startedAt = this.#now;
    request.retriesLeft = this.#world.retries;
    this.#try(id, request, undefined);
  }

  #try(id: number, request: Request, failed: SimulatedEndpoint | undefined): void {
    const { timeoutMs, measureFromMs } = this.#world;
    const now = this.#now;
    const endpoint = (this.#clients[request.client] as SimulatedClient).pick(request.hash, failed);
    request.endpoint = endpoint;
    request.turn++;
    if (endpoint === undefined) {
      this.#finish(id, request, true);
      return;
    }
    const server = this.#servers[endpoint.server] as SimulatedServer;
    endpoint.inFlight++;
    const pair = request.client * this.#servers.length + endpoint.server;
    if (this.#connected[pair] === 0 && server.alive) {
      this.#connected[pair] = 1;
      server.connections++;
    }
    if (request.startedAt >= measureFromMs) server.load++;
    request.tryStartedAt = now;
    request.failed = true;
    request.status = 0;
    let at = now + refusedMs;
    if (server.alive) {
      at = server.kind.refuses === true ? server.refuse(now) : server.serve(now, request.startedAt + timeoutMs);
      request.status = server.kind.refuses === true ? 429 : 200;
      request.failed = request.status !== 200;
    }
    const giveUp = request.startedAt + timeoutMs;
    if (at > giveUp) {
      at = giveUp;
      request.status = timedOut;
      request.failed = true;
    }
    this.#queue.add(at, id * maxTurns + (request.turn % maxTurns));
  }

  /** A try ends, unless this event was overtaken by another. */
  #end(event: number): void {
    const id = Math.floor(event / maxTurns);
    const request = this.#pool[id] as Request;
    if (request.turn % maxTurns !== event % maxTurns || request.endpoint === undefined) return;
    const { endpoint, status, failed } = request;
    const elapsed = this.#now - request.tryStartedAt;
    endpoint.inFlight--;
    if (this.#policy === 'PEAK_EWMA') {
      if (failed) endpoint.latency.failed(elapsed, this.#now);
      else endpoint.latency.answered(elapsed, this.#now);
    } else if (this.#policy === 'UTILIZATION') {
      const { report } = this.#servers[endpoint.server] as SimulatedServer;
      if (status === 0) endpoint.reports?.lost();
      else if (status !== timedOut && report !== '') (endpoint.reports ??= new ReportMemory()).heard(report, this.#now);
    }
    if (status === 0 && request.retriesLeft > 0) {
      request.retriesLeft--;
      this.#try(id, request, endpoint);
    } else this.#finish(id, request, failed);
  }

  #finish(id: number, request: Request, failed: boolean): void {
    request.endpoint = undefined;
    request.turn++;
    this.#free.push(id);
    if (request.startedAt < this.#world.measureFromMs) return;
    this.#requests++;
    if (failed) this.#errors++;
    this.#latencies.record(this.#now - request.startedAt);
  }
}

/** Users whose requests each have a key of their own. */
const keyCount = 100_000;
/** A connection that nobody takes fails after a round trip. */
const refusedMs = 1;
/** Instead of a status: the client gave up. */
const timedOut = -1;
