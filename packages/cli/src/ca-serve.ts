import { readFileSync } from 'node:fs';
import { type BundleEndpointOptions, readKubernetesClusters, runAuthority } from '@inmesh/ca';
import type { Arguments } from './arguments.ts';
import { authorityOptions, type CaCommand, commonOptions, makingOptions } from './ca-command.ts';
import { UsageError } from './usage-error.ts';

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
    'bundle-port': { type: 'string', value: '<number>', help: 'Serves the bundle to other trust domains there.' },
    'bundle-profile': { type: 'string', value: '<profile>', help: 'https_spiffe or https_web. Default: https_spiffe.' },
    'bundle-cert': { type: 'string', value: '<file>', help: 'Certificate of a public authority, for https_web.' },
    'bundle-key': { type: 'string', value: '<file>', help: 'Its key.' },
    'bundle-refresh': { type: 'string', value: '<time>', help: 'How often others should look. Default: 5m.' },
  },
  run: async (dir, args, output, { signal }) => {
    const host = args.text('host');
    const names = args.texts('name');
    const kubernetes = args.text('kubernetes');
    const bundleEndpoint = bundleOptions(args, host);
    const message = (fields: object, text: string): void => output.note(`${text} ${JSON.stringify(fields)}`);
    const running = await runAuthority({
      ...authorityOptions(args, output),
      dir,
      port: args.integer('port', 0, 65_535) ?? 8_443,
      ...(host === undefined ? {} : { host }),
      ...(names.length === 0 ? {} : { names }),
      ...(kubernetes === undefined ? {} : { kubernetes: readKubernetesClusters(readFileSync(kubernetes, 'utf8')) }),
      ...(bundleEndpoint === undefined ? {} : { bundleEndpoint }),
      logger: { debug: () => {}, info: message, warn: message, error: message },
    });
    output.line(`✓ certificate authority of ${running.authority.trustDomain} serves on ${running.url}`);
    output.line(`  INMESH_CA_URL=${running.url} INMESH_CA_ROOT=${dir}/root.pem`);
    if (running.bundleEndpoint !== undefined) {
      const { spiffeId, url } = running.bundleEndpoint;
      output.line(`✓ serves its bundle on ${url}${spiffeId === undefined ? '' : ` as ${spiffeId}`}`);
    }
    const stopped = Promise.withResolvers<void>();
    if (signal === undefined || signal.aborted) stopped.resolve();
    else signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    await stopped.promise;
    await running.close();
    return 0;
  },
};

function bundleOptions(args: Arguments, host: string | undefined): BundleEndpointOptions | undefined {
  const port = args.integer('bundle-port', 0, 65_535);
  const profile = args.text('bundle-profile') ?? 'https_spiffe';
  if (profile !== 'https_spiffe' && profile !== 'https_web') {
    throw new UsageError(
      `--bundle-profile must be https_spiffe or https_web, got ${JSON.stringify(profile)}`,
      'ca serve',
    );
  }
  const certFile = args.text('bundle-cert');
  const keyFile = args.text('bundle-key');
  const refreshMs = args.durationMs('bundle-refresh');
  const names = args.texts('name');
  if (port === undefined) {
    const given = certFile ?? keyFile ?? refreshMs ?? args.text('bundle-profile');
    if (given !== undefined)
      throw new UsageError('--bundle-port is needed for the other options of the bundle', 'ca serve');
    return undefined;
  }
  return {
    port,
    profile,
    ...(host === undefined ? {} : { host }),
    ...(names.length === 0 ? {} : { names }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
    ...(refreshMs === undefined ? {} : { refreshMs }),
  };
}
