import { describeProblem } from './config/problem.ts';
import type { ConfigStore } from './config/store.ts';
import { MeshError } from './errors.ts';
import type { IdentityHealth, IdentityStore } from './identity/store.ts';
import type { MeshHealth } from './mesh-api.ts';

export interface HealthDependencies {
  readonly config: ConfigStore;
  /** For messages: `file:./mesh`. */
  readonly configName: string;
  /** Absent: this process has no identity. */
  readonly identity: IdentityStore | undefined;
  readonly identityName: string | undefined;
  /** Resolves when the source of configuration will say nothing more. */
  readonly configEnded: Promise<void>;
  /** Keys of tokens. Without them tokens are refused; the rest is served. */
  readonly keys?: {
    status(): readonly { readonly url: string; readonly keys: number; readonly problem?: string }[];
    pending(): readonly string[];
    settled(): Promise<void>;
  };
  /** Has the mesh begun to close? */
  closing(): boolean;
}

/** Whether a mesh can do its work, and what is wrong when it cannot. */
export interface HealthView {
  health(): MeshHealth;
  /** What {@link HealthView.complete} waits for, in words. */
  missing(): string;
  /**
   * Resolves when there are a configuration and a certificate that is valid now; waits no longer than
   * until the signal aborts.
   *
   * @throws MeshError `ERR_MESH_NOT_READY` when the configuration was refused and its source has ended.
   */
  complete(signal: AbortSignal): Promise<void>;
}

export function createHealthView(dependencies: HealthDependencies): HealthView {
  const { config, configEnded, configName, identity, identityName } = dependencies;

  const configProblem = (): string | undefined => {
    const [problem] = config.problems();
    return problem === undefined ? config.lostReason()?.message : describeProblem(problem);
  };
  const missingParts = (): readonly string[] => {
    const parts: string[] = [];
    if (config.current() === undefined) parts.push(because(`configuration from ${configName}`, configProblem()));
    if (identity !== undefined && identity.current() === undefined) {
      const { problem, state } = identity.health();
      const what = state === 'expired' ? `valid identity from ${identityName}` : `identity from ${identityName}`;
      parts.push(because(what, problem ?? (state === 'expired' ? 'the certificate has expired' : undefined)));
    }
    return parts;
  };

  const pendingKeys = (): readonly string[] =>
    (dependencies.keys?.pending() ?? []).map((url) => `answer yet about keys of tokens from ${url}`);

  /** Rejects for a configuration that was refused, and whose source does not look at it again. */
  const refusedForGood = configEnded.then(async () => {
    if (config.current() === undefined && config.problems().length > 0 && !dependencies.closing()) {
      const [part] = missingParts();
      throw new MeshError('ERR_MESH_NOT_READY', `not ready: no ${part}`);
    }
    await config.ready;
  });
  // Whoever waits hears of it.
  refusedForGood.catch(() => {});

  return {
    missing: () => [...missingParts(), ...pendingKeys()].join(' and '),
    health() {
      const reasons = missingParts().map((part) => `no ${part}`);
      if (dependencies.closing()) reasons.unshift('the mesh is closing');
      const status = identity?.health();
      return {
        ready: reasons.length === 0,
        reasons,
        warnings: [
          ...warningsOf(status, config.current() === undefined ? undefined : configProblem()),
          ...(dependencies.keys?.status() ?? []).flatMap(keysWarning),
        ],
        identity: status,
      };
    },
    async complete(signal) {
      await Promise.all([Promise.race([config.ready, refusedForGood]), identity?.ready]);
      await dependencies.keys?.settled();
      // The first certificate may have expired since.
      if (identity === undefined || identity.current() !== undefined || signal.aborted) return;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          stop();
          signal.removeEventListener('abort', done);
          resolve();
        };
        const stop = identity.subscribe(done);
        signal.addEventListener('abort', done);
      });
    },
  };
}

function because(what: string, reason: string | undefined): string {
  return reason === undefined ? what : `${what} (${reason})`;
}

function keysWarning(status: { readonly url: string; readonly keys: number; readonly problem?: string }): string[] {
  const { keys, problem, url } = status;
  if (problem === undefined) return keys === 0 ? [`no keys of tokens from ${url}: they are refused`] : [];
  return [
    keys === 0
      ? because(`no keys of tokens from ${url}: they are refused`, problem)
      : `keys of tokens from ${url} are not renewed: ${problem}`,
  ];
}

function warningsOf(identity: IdentityHealth | undefined, config: string | undefined): readonly string[] {
  const warnings: string[] = [];
  if (config !== undefined) warnings.push(`configuration: ${config}`);
  if (identity?.state === 'due') {
    warnings.push(because(`identity: not renewed, expires in ${identity.expirySeconds} s`, identity.problem));
  } else if (identity?.state === 'valid' && identity.problem !== undefined) {
    warnings.push(`identity: ${identity.problem}`);
  }
  return warnings;
}
