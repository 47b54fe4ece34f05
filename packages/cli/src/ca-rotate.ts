import { type Authority, openAuthority } from '@inmesh/ca';
import type { Arguments } from './arguments.ts';
import { authorityOptions, type CaCommand, commonOptions, operand } from './ca-command.ts';
import { describeRotation } from './ca-status.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

type Step = (authority: Authority, args: Arguments, output: Output, dir: string) => void;

const steps: Readonly<Record<string, Step>> = {
  prepare: ({ rotation, status }, args, output, dir) => {
    const from = args.text('from');
    rotation.prepare(from === undefined ? {} : { from });
    output.line(`✓ members are handed both roots; the old one signs. Newcomers need ${dir}/root.pem, which holds both`);
    if (status().rotation?.crossSigned === true) {
      output.line('  the new root is cross-signed: who has not heard of it accepts what it signs');
    } else {
      output.line('  the new root is not cross-signed: activate it when every member has heard of it');
    }
    output.line('  next: inmesh ca rotate activate');
  },
  activate: ({ rotation }, args, output) => {
    rotation.activate({ force: args.flag('force') });
    output.line('✓ the new root signs; the old one is trusted still');
    output.line('  next: inmesh ca rotate finish, when the last certificate of the old root has expired');
  },
  finish: ({ rotation }, args, output, dir) => {
    rotation.finish({ force: args.flag('force') });
    output.line(`✓ the old root is gone, with its keys; ${dir}/root.pem is the new one`);
  },
  abort: ({ rotation, status }, args, output) => {
    rotation.abort({ force: args.flag('force') });
    if (status().rotation === undefined) output.line('✓ the new root is gone, with its keys');
    else output.line('✓ the old root signs again; abort once more to take the new one away');
  },
  status: ({ status }, _args, output) => {
    for (const line of describeRotation(status())) output.line(line);
  },
};

/** `inmesh ca rotate`. */
export const rotate: CaCommand = {
  introduction: 'Exchanges the root, in three steps: prepare, activate, finish. Nobody is cut off at any of them.',
  operand: Object.keys(steps).join('|'),
  explanation: `  prepare   Makes a new root and hands it out beside the old one.
  activate  Signs with the new root; its cross certificate goes along for those who know the old one only.
  finish    Takes the old root away. Refused while certificates of it are valid.
  abort     One step back: signs with the old root again, or takes the prepared one away.
  status    Says where things are, and what comes next.`,
  options: {
    ...commonOptions,
    from: {
      type: 'string',
      value: '<folder>',
      help: "prepare: an intermediate of the new root that was made elsewhere, as in Istio's cacerts.",
    },
    force: { type: 'boolean', help: 'activate, finish, abort: do not wait for members; some may be cut off.' },
  },
  run: (dir, args, output) => {
    const name = operand(args, 'rotate', `one of ${Object.keys(steps).join(', ')}`);
    const step = Object.hasOwn(steps, name) ? steps[name] : undefined;
    if (step === undefined) throw new UsageError(`unknown step ${name}`, 'ca rotate');
    step(openAuthority(dir, authorityOptions(args, output)), args, output, dir);
    return 0;
  },
};
