import { spawnSync } from 'node:child_process';

/**
 * The environment for a child process that is to run as in a user's shell: without what npm and
 * tap (its loaders, its coverage) put there, and without settings of a mesh.
 */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const strange = /^(npm_|tap_|_?tapjs|inmesh_|node_options$|node_v8_coverage$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !strange.test(name)));
}

/** What a program printed, and how it ended. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, as a user's shell would. */
export function runPlainly(program: string, args: readonly string[], cwd: string, seconds = 120): Outcome {
  // tap puts its loaders back into the environment of every process that a test starts, so another
  // program has to take them out again. Without it (on Windows) they stay.
  const [command, ...before] = process.platform === 'win32' ? [program] : ['env', '-u', 'NODE_OPTIONS', program];
  const options = {
    cwd,
    env: plainEnvironment(),
    encoding: 'utf8',
    timeout: seconds * 1000,
    maxBuffer: 2 ** 26,
  } as const;
  const { status, stdout, stderr, error } = spawnSync(command ?? program, [...before, ...args], options);
  return { status, stdout, stderr: `${stderr}${error?.message ?? ''}` };
}
