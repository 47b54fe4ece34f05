import { openAuthority, type TokenRequest } from '@inmesh/ca';
import { authorityOptions, type CaCommand, commonOptions } from './ca-command.ts';
import { UsageError } from './usage-error.ts';

/** `inmesh ca token`. */
export const token: CaCommand = {
  introduction: 'Prints a join token: what a workload shows to get its first certificate.',
  options: {
    ...commonOptions,
    namespace: { type: 'string', value: '<name>', help: 'Namespace of the workload.' },
    'service-account': { type: 'string', value: '<name>', help: 'Service account of the workload.' },
    'spiffe-id': { type: 'string', value: '<id>', help: 'SPIFFE ID of the workload, instead of the two above.' },
    ttl: { type: 'string', value: '<time>', help: 'How long the token may be used. Default: 10m, at most 720h.' },
    uses: { type: 'string', value: '<number>', help: 'How often it may be used. Default: 1.' },
    json: { type: 'boolean', help: 'Print token, id, SPIFFE ID and expiry as JSON.' },
  },
  run: (dir, args, output) => {
    const spiffeId = args.text('spiffe-id');
    const namespace = args.text('namespace');
    const serviceAccount = args.text('service-account');
    const ttlMs = args.durationMs('ttl');
    const uses = args.integer('uses', 1, 1_000);
    const times = { ...(ttlMs === undefined ? {} : { ttlMs }), ...(uses === undefined ? {} : { uses }) };
    let request: TokenRequest;
    if (spiffeId !== undefined && namespace === undefined && serviceAccount === undefined) {
      request = { spiffeId, ...times };
    } else if (spiffeId === undefined && namespace !== undefined && serviceAccount !== undefined) {
      request = { namespace, serviceAccount, ...times };
    } else {
      throw new UsageError('name the workload by --namespace and --service-account, or by --spiffe-id', 'ca token');
    }
    const made = openAuthority(dir, authorityOptions(args, output)).createToken(request);
    // Nothing but the token, so that `$(inmesh ca token …)` is one.
    if (!args.flag('json')) output.line(made.token);
    else output.line(JSON.stringify({ ...made, expiresAt: new Date(made.expiresAt).toISOString() }, undefined, 2));
    return 0;
  },
};
