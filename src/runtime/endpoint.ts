import type { Dispatcher } from 'undici';
import { LatencyMemory } from '../balance/peak-ewma.ts';
import type { ReportMemory } from '../balance/utilization.ts';
import { type HealthHost, newHealthHost } from '../health/host.ts';
import type { Endpoint } from '../model/cluster.ts';
import type { OutlierSubject } from '../outlier/detector.ts';
import { newOutlierHost, type OutlierHost } from '../outlier/host.ts';
import type { Series } from '../telemetry/metrics.ts';

/** How the runtime reaches the world; given by whoever wires it. */
export interface EndpointHooks {
  /**
   * Makes the connections to an endpoint; called on first use. `current` is the endpoint as it is
   * when a connection is made: of a name of which only the first address counts, that may change.
   */
  open(endpoint: Endpoint, host: string, current: () => Endpoint): Dispatcher;
  /** Connections are for one Host header and no other: its name is part of their TLS. */
  readonly perHost?: boolean;
  /** Where its tries count. In one cluster its workload and its label `version` alone decide. */
  series(endpoint: Endpoint): Series;
}

/** `10.0.0.7:9080`, `[::1]:9080`, `unix:///run/reviews.sock`: what identifies an endpoint within its cluster. */
export function endpointKey({ address, port }: Endpoint): string {
  if (address.startsWith('unix://')) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** What the mesh remembers of one endpoint of one cluster: connections, load, failures. */
export class EndpointState implements OutlierSubject {
  name: string;
  /** Host header that the connections send by themselves: that of the first request; '' if it is one of several. */
  host: string;
  endpoint: Endpoint;
  weight: number;
  inFlight: number;
  /** Counts the sets of connections; grows with each {@link drain}. */
  generation: number;
  outlier: OutlierHost;
  health: HealthHost;
  /** Whether it was available when others were last told. */
  announced: boolean;
  series: Series;
  /** What its server said of its load, once it has. */
  reports: ReportMemory | undefined;
  #hooks: EndpointHooks;
  #retired: boolean;
  #dispatcher: Dispatcher | undefined;
  #byHost: Map<string, Dispatcher> | undefined;
  #latency: LatencyMemory | undefined;

  constructor(endpoint: Endpoint, hooks: EndpointHooks) {
    this.name = endpointKey(endpoint);
    this.host = '';
    this.endpoint = endpoint;
    this.weight = endpoint.weight;
    this.inFlight = 0;
    this.generation = 0;
    this.outlier = newOutlierHost();
    this.health = newHealthHost();
    this.announced = true;
    this.series = hooks.series(endpoint);
    this.reports = undefined;
    this.#hooks = hooks;
    this.#retired = false;
    this.#dispatcher = undefined;
    this.#byHost = undefined;
    this.#latency = undefined;
  }

  /** Made on first use: only some policies ask. */
  get latency(): LatencyMemory {
    return (this.#latency ??= new LatencyMemory());
  }

  /**
   * May it be chosen, as far as its own health goes: it is not ejected, and no health check says
   * that it is down. Load balancing reads only this; a change is announced by a new rebuild.
   */
  get available(): boolean {
    return this.outlier.ejectedUntil === 0 && this.health.healthy;
  }

  /** It does not count when the share of healthy endpoints is worked out: never checked, or it asked for it. */
  get excluded(): boolean {
    return this.health.excluded;
  }

  /** Has it left the cluster? */
  get retired(): boolean {
    return this.#retired;
  }

  /** Takes over what the configuration now says; connections that there are stay as they are. */
  adopt(endpoint: Endpoint, hooks: EndpointHooks): void {
    const { address, labels, port, spiffeId, workload } = this.endpoint;
    if (address !== endpoint.address || port !== endpoint.port) this.name = endpointKey(endpoint);
    this.endpoint = endpoint;
    this.weight = endpoint.weight;
    if (
      workload !== endpoint.workload ||
      labels['version'] !== endpoint.labels['version'] ||
      spiffeId !== endpoint.spiffeId
    ) {
      this.series = hooks.series(endpoint);
    }
    this.#hooks = hooks;
  }

  dispatcher(host: string): Dispatcher {
    if (this.#hooks.perHost === true) return this.#dispatcherFor(host);
    if (this.#dispatcher === undefined) {
      this.host = host === '' ? this.name : host;
      this.#dispatcher = this.#hooks.open(this.endpoint, this.host, () => this.endpoint);
    }
    return this.#dispatcher;
  }

  tryReplied(): void {
    // only the end counts
  }

  /** A try on this endpoint received its last byte, or failed. */
  tryEnded(): void {
    this.inFlight--;
    if (this.#retired && this.inFlight === 0) void this.drain();
  }

  /**
   * It has left the cluster. A call that is between two tries may still come for it: what that
   * opens is closed again at its end.
   */
  async retire(): Promise<void> {
    this.#retired = true;
    await this.drain();
  }

  /** Lets the connections finish what they carry and closes them; the next try opens new ones. */
  async drain(): Promise<void> {
    const dispatchers = [...(this.#byHost?.values() ?? [])];
    if (this.#dispatcher !== undefined) dispatchers.push(this.#dispatcher);
    this.#dispatcher = undefined;
    this.#byHost = undefined;
    this.generation++;
    await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
  }

  #dispatcherFor(host: string): Dispatcher {
    this.host = '';
    this.#byHost ??= new Map();
    let dispatcher = this.#byHost.get(host);
    if (dispatcher === undefined) {
      const [oldest] = this.#byHost.keys();
      if (oldest !== undefined && this.#byHost.size >= maxHosts) {
        void this.#byHost.get(oldest)?.close();
        this.#byHost.delete(oldest);
      }
      dispatcher = this.#hooks.open(this.endpoint, host === '' ? this.name : host, () => this.endpoint);
      this.#byHost.set(host, dispatcher);
    }
    return dispatcher;
  }
}

/** Host headers that an endpoint has connections for; more of them replace the oldest. */
const maxHosts = 64;
