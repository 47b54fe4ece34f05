import { describeOptions, readArguments } from './arguments.ts';
import type { CaCommand } from './ca-command.ts';
import { federate, helpForFederate } from './ca-federate.ts';
import { importIntermediate } from './ca-import.ts';
import { init } from './ca-init.ts';
import { revoke } from './ca-revoke.ts';
import { rotate } from './ca-rotate.ts';
import { serve } from './ca-serve.ts';
import { status } from './ca-status.ts';
import { token } from './ca-token.ts';
import type { Surroundings } from './load.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

const commands: Readonly<Record<string, CaCommand>> = {
  init,
  serve,
  token,
  status,
  rotate,
  revoke,
  import: importIntermediate,
};
const names = [...Object.keys(commands), 'federate'];

export const caHelp: string = `Usage: inmesh ca ${names.join('|')} [options]

The embedded certificate authority.

${Object.entries(commands)
  .map(([name, { introduction }]) => `  ${name.padEnd(8)} ${introduction}`)
  .join('\n')}
  federate Whom the authority trusts beside itself: add, remove, list, fetch, show.

\`inmesh ca <command> --help\` shows the options.`;

/** Help of `inmesh ca`, or of one of its commands. */
export function helpForCa(name: string, sub = ''): string {
  if (name === 'federate') return helpForFederate(sub);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) return caHelp;
  const { introduction, operand, explanation, options } = command;
  const usage = `Usage: inmesh ca ${name}${operand === undefined ? '' : ` ${operand}`} [options]`;
  return [usage, introduction, ...(explanation === undefined ? [] : [explanation]), describeOptions(options)].join(
    '\n\n',
  );
}

/** `inmesh ca`. */
export async function ca(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const [name = '', ...rest] = args;
  if (name === 'federate') return await federate(rest, output);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new UsageError(name === '' ? `name one of ${names.join(', ')}` : `unknown command ca ${name}`, 'ca');
  }
  const parsed = readArguments(`ca ${name}`, rest, command.options);
  const extra = parsed.positionals[command.operand === undefined ? 0 : 1];
  if (extra !== undefined) throw new UsageError(`unexpected argument ${extra}`, `ca ${name}`);
  return command.run(parsed.text('dir') ?? 'ca', parsed, output, surroundings);
}
