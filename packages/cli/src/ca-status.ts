import { type AuthorityStatus, openAuthority } from '@inmesh/ca';
import { authorityOptions, type CaCommand, commonOptions } from './ca-command.ts';
import { count } from './output.ts';

/** `inmesh ca status`. */
export const status: CaCommand = {
  introduction:
    'Says how an authority is doing: its certificates, the exchange of its root, what it issued and revoked.',
  options: { ...commonOptions, json: { type: 'boolean', help: 'Print it as JSON.' } },
  run: (dir, args, output) => {
    const found = openAuthority(dir, authorityOptions(args, output)).status();
    if (args.flag('json')) output.line(JSON.stringify(found, undefined, 2));
    else for (const line of describe(found)) output.line(line);
    return isWell(found) ? 0 : 1;
  },
};

/** Nothing that signs has expired, and the log is whole. */
function isWell({ certificates, log }: AuthorityStatus): boolean {
  return (
    log.brokenAt === undefined && certificates.every(({ state, daysLeft }) => state !== 'signing' || daysLeft >= 0)
  );
}

function describe(found: AuthorityStatus): readonly string[] {
  const { certificates, issued, log, revoked, crl } = found;
  return [
    `certificate authority of ${found.trustDomain}, certificates for ${duration(found.leafTtlMs)}, ${count(found.rootsInBundle, 'root')} in its bundle`,
    ...certificates.map(
      ({ role, state, key, daysLeft, subject, keyHere }) =>
        `  ${role.padEnd(21)} ${state.padEnd(8)} ${key.padEnd(9)} ${left(daysLeft).padEnd(15)} ${subject}${keyHere ? '' : ' (its key is elsewhere)'}`,
    ),
    ...describeRotation(found),
    `issued: ${count(issued.total, 'certificate')}, ${issued.valid} valid; log: ${
      log.brokenAt === undefined ? `whole (${count(log.entries, 'line')})` : `✗ changed at ${log.brokenAt}`
    }`,
    ...issued.last.map(({ time, subject, serial, by }) => `  ${time} ${serial} ${subject} (${by})`),
    `revoked: ${count(revoked.certificates, 'certificate')}${
      revoked.identities.length === 0 ? '' : `, and for good ${revoked.identities.join(', ')}`
    }`,
    ...(crl === undefined ? [] : [`revocation list: number ${crl.number}, valid until ${crl.nextUpdate}`]),
    ...(crl?.missing ?? []).map((name) => `  there is none of ${name}, so members get none at all`),
  ];
}

/** Where the exchange of the root is, and what comes next. */
export function describeRotation({ rotation }: AuthorityStatus): readonly string[] {
  if (rotation === undefined) return ['root: not being exchanged'];
  const { phase, preparedAt, activatedAt, crossSigned, validOfOther, validOfOtherUntil } = rotation;
  const waiting =
    validOfOther === 0
      ? ''
      : `; ${count(validOfOther, 'certificate')} of the ${phase === 'active' ? 'old' : 'new'} root valid until ${validOfOtherUntil}`;
  return phase === 'active'
    ? [`root: the new one signs since ${activatedAt}${waiting}`, '  next: inmesh ca rotate finish']
    : [
        `root: a new one is prepared since ${preparedAt}, ${crossSigned ? 'cross-signed' : 'not cross-signed'}${waiting}`,
        '  next: inmesh ca rotate activate',
      ];
}

function left(days: number): string {
  return days < 0 ? '✗ expired' : `${count(days, 'day')} left`;
}

function duration(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds % 3_600 === 0) return `${seconds / 3_600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}
