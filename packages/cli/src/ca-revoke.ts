import { openAuthority, type RevocationReason, revocationReasons } from '@inmesh/ca';
import { authorityOptions, type CaCommand, commonOptions } from './ca-command.ts';
import { count } from './output.ts';
import { UsageError } from './usage-error.ts';

const reasons = Object.keys(revocationReasons);

/** `inmesh ca revoke`. */
export const revoke: CaCommand = {
  introduction: 'Revokes a certificate, or an identity with all its certificates; it gets no others.',
  options: {
    ...commonOptions,
    serial: { type: 'string', value: '<hex>', help: 'Serial number of the certificate.' },
    'spiffe-id': { type: 'string', value: '<id>', help: 'The identity.' },
    reason: { type: 'string', value: '<word>', help: `One of ${reasons.join(', ')}. Default: unspecified.` },
    undo: { type: 'boolean', help: 'Let a revoked identity have certificates again. Old ones stay revoked.' },
  },
  run: (dir, args, output) => {
    const serial = args.text('serial');
    const spiffeId = args.text('spiffe-id');
    const reason = args.text('reason');
    const undo = args.flag('undo');
    if ((serial === undefined) === (spiffeId === undefined)) {
      throw new UsageError('say what is revoked, by --serial or by --spiffe-id', 'ca revoke');
    }
    if (reason !== undefined && !reasons.includes(reason)) {
      throw new UsageError(`--reason must be one of ${reasons.join(', ')}, got ${JSON.stringify(reason)}`, 'ca revoke');
    }
    if (undo && spiffeId === undefined) {
      throw new UsageError('a certificate stays revoked; --undo is for --spiffe-id', 'ca revoke');
    }
    const authority = openAuthority(dir, authorityOptions(args, output));
    if (undo && spiffeId !== undefined) {
      authority.reinstate(spiffeId);
      output.line(`✓ ${spiffeId} may have certificates again`);
      return 0;
    }
    const why = reason === undefined ? {} : { reason: reason as RevocationReason };
    const revoked = authority.revoke(
      spiffeId === undefined ? { serial: serial as string, ...why } : { spiffeId, ...why },
    );
    output.line(
      spiffeId === undefined
        ? `✓ certificate ${serial} ${revoked.length === 0 ? 'was revoked already' : 'is revoked'}`
        : `✓ ${spiffeId} is revoked, with ${count(revoked.length, 'certificate')}`,
    );
    return 0;
  },
};
