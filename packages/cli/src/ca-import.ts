import { openAuthority } from '@inmesh/ca';
import { authorityOptions, type CaCommand, commonOptions, operand } from './ca-command.ts';

/** `inmesh ca import`. */
export const importIntermediate: CaCommand = {
  introduction: 'Puts an intermediate of the same root that was made elsewhere in the place of the present one.',
  operand: '<folder>',
  explanation: "The folder is like Istio's cacerts: ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem.",
  options: commonOptions,
  run: (dir, args, output) => {
    const from = operand(args, 'import', 'the folder of the intermediate');
    openAuthority(dir, authorityOptions(args, output)).importIntermediate(from);
    output.line(`✓ the intermediate of ${from} signs`);
    return 0;
  },
};
