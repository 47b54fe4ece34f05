import { readFileSync } from 'node:fs';
import { readKubernetesClusters, runAuthority } from '@inmesh/ca';
import { authorityOptions, type CaCommand, commonOptions, makingOptions } from './ca-command.ts';

/** `inmesh ca serve`. */
export const serve: CaCommand = {
  introduction: 'Serves the authority over HTTPS until it is stopped; makes one when the folder has none.',
  options: {
    ...commonOptions,
    ...makingOptions,
    host: { type: 'string', value: '<address>', help: 'Address to listen on. Default: 127.0.0.1.' },
    port: { type: 'string', value: '<number>', help: 'Port to listen on. Default: 8443.' },
    name: {
      type: 'string',
      multiple: true,
      value: '<name>',
      help: 'Host name or address by which clients call it. May be repeated.',
    },
    kubernetes: {
      type: 'string',
      value: '<file>',
      help: 'JSON: clusters whose service accounts get certificates by their tokens.',
    },
  },
  run: async (dir, args, output, { signal }) => {
    const host = args.text('host');
    const names = args.texts('name');
    const kubernetes = args.text('kubernetes');
    const message = (fields: object, text: string): void => output.note(`${text} ${JSON.stringify(fields)}`);
    const running = await runAuthority({
      ...authorityOptions(args, output),
      dir,
      port: args.integer('port', 0, 65_535) ?? 8_443,
      ...(host === undefined ? {} : { host }),
      ...(names.length === 0 ? {} : { names }),
      ...(kubernetes === undefined ? {} : { kubernetes: readKubernetesClusters(readFileSync(kubernetes, 'utf8')) }),
      logger: { debug: () => {}, info: message, warn: message, error: message },
    });
    output.line(`✓ certificate authority of ${running.authority.trustDomain} serves on ${running.url}`);
    output.line(`  INMESH_CA_URL=${running.url} INMESH_CA_ROOT=${dir}/root.pem`);
    const stopped = Promise.withResolvers<void>();
    if (signal === undefined || signal.aborted) stopped.resolve();
    else signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    await stopped.promise;
    await running.close();
    return 0;
  },
};
