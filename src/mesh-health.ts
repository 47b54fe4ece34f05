import { describeProblem } from './config/problem.ts';
import type { ConfigStore } from './config/store.ts';
import type { IdentityHealth, IdentityStore } from './identity/store.ts';
import type { MeshHealth } from './mesh-api.ts';

export interface HealthDependencies {
  readonly config: ConfigStore;
  /** For messages: `file:./mesh`. */
  readonly configName: string;
  /** Absent: this process has no identity. */
  readonly identity: IdentityStore | undefined;
  readonly identityName: string | undefined;
  /** Has the mesh begun to close? */
  closing(): boolean;
}

/** Whether a mesh can do its work, and what is wrong when it cannot. */
export interface HealthView {
  health(): MeshHealth;
  /** What {@link HealthView.complete} waits for, in words. */
  missing(): string;
  /** Resolves when there are a configuration and a certificate that is valid now. */
  complete(): Promise<void>;
}

export function createHealthView(dependencies: HealthDependencies): HealthView {
  const { config, configName, identity, identityName } = dependencies;

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

  return {
    missing: () => missingParts().join(' and '),
    health() {
      const reasons = missingParts().map((part) => `no ${part}`);
      if (dependencies.closing()) reasons.unshift('the mesh is closing');
      const status = identity?.health();
      return {
        ready: reasons.length === 0,
        reasons,
        warnings: warningsOf(status, config.current() === undefined ? undefined : configProblem()),
        identity: status,
      };
    },
    async complete() {
      await Promise.all([config.ready, identity?.ready]);
      // The first certificate may have expired since.
      if (identity === undefined || identity.current() !== undefined) return;
      await new Promise<void>((resolve) => {
        const stop = identity.subscribe(() => {
          stop();
          resolve();
        });
      });
    },
  };
}

function because(what: string, reason: string | undefined): string {
  return reason === undefined ? what : `${what} (${reason})`;
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
