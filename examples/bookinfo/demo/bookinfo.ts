import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MeshStats } from 'inmesh';
import { type Child, startChild } from './child.ts';
import type { RunFolder } from './folders.ts';
import type { LoadFigures, Message } from './messages.ts';
import { isComplete, readPage } from './pages.ts';
import { freePort } from './ports.ts';
import { namespace, type ServiceProcess, topology, workloadEntry } from './topology.ts';

/** What happens while Bookinfo runs. */
export interface BookinfoEvents {
  /** Any message of a process. */
  message: [from: string, message: Message];
  /** A line that a process wrote: the mesh logs JSON to stderr. */
  line: [from: string, line: string];
  /** A process ended and nobody had asked for it. */
  crash: [name: string, reason: string];
}

/** The last word of one service. */
export interface ServiceFigures {
  readonly pid: number;
  readonly stats: MeshStats;
  /** When it got the certificate that it uses, milliseconds since the epoch. */
  readonly certifiedAt: number;
}

export interface BookinfoOptions {
  readonly folder: RunFolder;
  /** Wanted port of the page; another one is taken when it is not free. 0: any. */
  readonly pagePort: number;
  /** Life of the services' certificates. */
  readonly certificateLifeMs: number;
}

interface Authority {
  readonly url: string;
  readonly tokens: Readonly<Record<string, string>>;
}

const graceMs = 2_500;

/** Bookinfo, running: the authority, six services, and what they last said. */
export class Bookinfo extends EventEmitter<BookinfoEvents> {
  readonly folder: RunFolder;
  /** By name of the process; absent while it does not run. */
  readonly figures: Map<string, ServiceFigures> = new Map();
  load: LoadFigures | undefined;
  /** Admin page of productpage, once it serves one. */
  adminUrl: string | undefined;
  private readonly options: BookinfoOptions;
  private readonly children = new Map<string, Child>();
  private readonly ports = new Map<string, number>();
  private authority: Authority | undefined;
  private stopping: Promise<void> | undefined;
  private configuredAt = 0;
  private registeredAt = 0;

  constructor(options: BookinfoOptions) {
    super();
    this.setMaxListeners(50);
    this.options = options;
    this.folder = options.folder;
  }

  /** Starts everything. Resolves when the page answers with all its parts. */
  async start(): Promise<void> {
    this.folder.writeEndpoints('# nobody listens yet\n');
    await this.startAuthority();
    await Promise.all(topology.map((service) => this.startService(service)));
    const deadline = performance.now() + 20_000;
    for (let good = 0; good < 3; ) {
      const visit = await readPage(this.url, good === 1 ? { 'end-user': 'jason' } : {});
      good = isComplete(visit.page) ? good + 1 : 0;
      if (performance.now() > deadline) throw new Error(`the page is not complete: ${JSON.stringify(visit)}`);
      if (good === 0) await sleep(50);
    }
    // The registrations reach one service a little after the other.
    while (performance.now() - this.configuredAt < 500) await sleep(50);
  }

  /** Where the page is. */
  get url(): string {
    return `http://127.0.0.1:${this.ports.get('productpage-v1') ?? 0}/productpage`;
  }

  portOf(name: string): number | undefined {
    return this.ports.get(name);
  }

  running(name: string): boolean {
    return this.children.get(name)?.running() ?? false;
  }

  /** Starts a service and registers it. Resolves when it listens. */
  async startService(service: ServiceProcess): Promise<void> {
    const port = service.app === 'productpage' ? await freePort(this.options.pagePort) : 0;
    const ready = this.launch(service.name, `../services/${service.file}`, 'ready', {
      ...this.settingsOf(service),
      PORT: String(port),
    });
    this.ports.set(service.name, (await ready).port);
    this.folder.writeEndpoints(this.registrations());
    this.registeredAt = performance.now();
  }

  /** Was a service registered a moment ago? Then a new configuration is our doing, not an edit. */
  justRegistered(): boolean {
    return performance.now() - this.registeredAt < 2_000;
  }

  /** Starts another program as a workload of the mesh: not registered, so nobody calls it. */
  async startWorkload(service: ServiceProcess): Promise<Child> {
    await this.launch(service.name, service.file, 'ready', this.settingsOf(service));
    return this.children.get(service.name) as Child;
  }

  startLoad(rate: number): void {
    this.fork('load', 'load.ts', { BOOKINFO_URL: this.url, BOOKINFO_RATE: String(rate) });
  }

  /** Ends a process as a crash would. A service stays registered, as it would. */
  async kill(name: string): Promise<void> {
    await this.children.get(name)?.kill();
    this.figures.delete(name);
  }

  /** Stops every process and removes the folder. May be called at any time, and again. */
  stop(): Promise<void> {
    this.stopping ??= this.stopAll();
    return this.stopping;
  }

  private async stopAll(): Promise<void> {
    // Callers first: the load, then the page; what they call finishes their last requests.
    const all = [...this.children.values()].reverse();
    await Promise.all(all.map((child) => child.stop(graceMs)));
    this.folder.remove();
  }

  private async startAuthority(): Promise<void> {
    const accounts = [...new Set(topology.map((service) => service.serviceAccount)), 'bookinfo-intruder'];
    this.authority = await this.launch('authority', 'authority.ts', 'authority', {
      BOOKINFO_AUTHORITY: this.folder.authorityFolder,
      BOOKINFO_NAMESPACE: namespace,
      BOOKINFO_ACCOUNTS: accounts.join(','),
      BOOKINFO_LIFE_MS: String(this.options.certificateLifeMs),
    });
  }

  /** The whole configuration of a service: the same variables that would be set in production. */
  private settingsOf(service: ServiceProcess): Record<string, string> {
    if (this.authority === undefined) throw new Error('the authority does not run');
    return {
      INMESH_CONFIG: this.folder.meshFolder,
      INMESH_WORKLOAD: service.name,
      INMESH_NAMESPACE: namespace,
      INMESH_SERVICE_ACCOUNT: service.serviceAccount,
      INMESH_LABELS: `app=${service.app},version=${service.version}`,
      INMESH_CA_URL: this.authority.url,
      INMESH_CA_ROOT: join(this.folder.authorityFolder, 'root.pem'),
      INMESH_CA_TOKEN: this.authority.tokens[service.serviceAccount] ?? '',
      // On SIGTERM: finish what is in flight, then go. The services need no code for it.
      INMESH_CLOSE_ON: 'SIGTERM',
      INMESH_DRAIN_DELAY_MS: '0',
      INMESH_DRAIN_GRACE_MS: '1500',
    };
  }

  private registrations(): string {
    return topology
      .filter((service) => this.ports.has(service.name))
      .map((service) => workloadEntry(service, this.ports.get(service.name) as number))
      .join('---\n');
  }

  /** Starts a process and waits for its first message of this kind. */
  private launch<K extends Message['kind']>(
    name: string,
    file: string,
    kind: K,
    env: Record<string, string>,
  ): Promise<Extract<Message, { kind: K }>> {
    const { promise, resolve, reject } = Promise.withResolvers<Extract<Message, { kind: K }>>();
    const fail = (reason: string): void => reject(new Error(`${name} did not start: ${reason}`));
    const onMessage = (from: string, message: Message): void => {
      if (from === name && message.kind === kind) resolve(message as Extract<Message, { kind: K }>);
    };
    const onLine = (from: string, line: string): void => {
      const reason = from === name ? errorIn(line) : undefined;
      if (reason !== undefined) fail(this.folder.shownIn(reason));
    };
    const onCrash = (from: string, reason: string): void => {
      if (from === name) fail(`${reason}\n${this.children.get(name)?.output() ?? ''}`.trimEnd());
    };
    const timer = setTimeout(fail, 30_000, 'not ready after 30 s').unref();
    this.on('message', onMessage).on('line', onLine).on('crash', onCrash);
    this.fork(name, file, env);
    return promise.finally(() => {
      clearTimeout(timer);
      this.off('message', onMessage).off('line', onLine).off('crash', onCrash);
    });
  }

  private fork(name: string, file: string, env: Record<string, string>): Child {
    if (this.stopping !== undefined) throw new Error('stopping');
    const child = startChild({
      name,
      file: join(import.meta.dirname, file),
      env,
      onMessage: (message) => this.receive(name, child.pid, message),
      onLine: (line) => this.emit('line', name, line),
      onCrash: (reason) => {
        this.figures.delete(name);
        this.emit('crash', name, reason);
      },
    });
    this.children.set(name, child);
    return child;
  }

  private receive(name: string, pid: number, message: Message): void {
    if (message.kind === 'admin') this.adminUrl = message.url;
    if (message.kind === 'load') this.load = message.load;
    if (message.kind === 'config') this.configuredAt = performance.now();
    if (message.kind === 'stats' && this.running(name)) {
      const last = this.figures.get(name);
      const same = last?.pid === pid && last.stats.identity?.generation === message.stats.identity?.generation;
      this.figures.set(name, { pid, stats: message.stats, certifiedAt: same ? last.certifiedAt : Date.now() });
    }
    this.emit('message', name, message);
  }
}

/** The message of a log line that says that something is wrong. */
function errorIn(line: string): string | undefined {
  try {
    const { level, message } = JSON.parse(line) as { readonly level?: unknown; readonly message?: unknown };
    return level === 'error' ? String(message) : undefined;
  } catch {
    return undefined;
  }
}
