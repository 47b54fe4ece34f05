import { MeshError } from 'inmesh/identity';
import { analyze, analyzeHelp } from './analyze.ts';
import { ca, helpForCa } from './ca.ts';
import { check, checkHelp } from './check.ts';
import { explain, explainHelp } from './explain.ts';
import { identity, identityHelp } from './identity.ts';
import type { Surroundings } from './load.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

type Command = (args: readonly string[], output: Output, surroundings: Surroundings) => Promise<number>;

const commands: Readonly<Record<string, Command>> = { check, analyze, explain, ca, identity };

const helps: Readonly<Record<string, string>> = {
  check: checkHelp,
  analyze: analyzeHelp,
  explain: explainHelp,
  identity: identityHelp,
};

const help = `Usage: inmesh <command> [options]

  check     Says whether mesh configuration would be accepted, and why not.
  analyze   Says what is wrong with mesh configuration, and what inmesh does with it.
  explain   Says what would happen to a request, and why, without sending it.
  ca        The embedded certificate authority: init, serve, token, status, rotate, revoke, import, federate.
  identity  Says what a SPIFFE Workload API gives this process.

\`inmesh <command> --help\` shows the options of a command.`;

/**
 * Runs one command line, without the name of the program. Resolves to the exit code: 0 good, 1 the
 * answer is no, 2 the command line is wrong. Never rejects for what a person can cause.
 */
export async function run(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const [name = '', ...rest] = args;
  if (name === '' || name === 'help' || name === '--help' || name === '-h') {
    const asked = name === 'help' ? helpFor(rest) : help;
    if (name === '') output.note(asked);
    else output.line(asked);
    return name === '' ? 2 : 0;
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    output.line(helpFor(args));
    return 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  try {
    if (command === undefined) throw new UsageError(`unknown command ${name}`, '');
    return await command(rest, output, surroundings);
  } catch (error) {
    return apologize(error, output);
  }
}

function helpFor([name = '', sub = '', more = '']: readonly string[]): string {
  if (name === 'ca') return helpForCa(sub, more);
  return Object.hasOwn(helps, name) ? (helps[name] ?? help) : help;
}

function apologize(error: unknown, output: Output): number {
  if (error instanceof UsageError) {
    output.note(`inmesh: ${error.message}`);
    output.note(`\`inmesh ${error.command === '' ? '' : `${error.command} `}--help\` shows how.`);
    return 2;
  }
  if (error instanceof MeshError || isSystemError(error)) {
    output.note(`inmesh: ${error.message}`);
    return error instanceof MeshError && error.code === 'ERR_MESH_OPTION_INVALID' ? 2 : 1;
  }
  throw error;
}

/** A file that is not there, a port that is taken. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}
