import { initAuthority } from '@inmesh/ca';
import { authorityOptions, type CaCommand, commonOptions, makingOptions } from './ca-command.ts';

/** `inmesh ca init`. */
export const init: CaCommand = {
  introduction: 'Makes a certificate authority in a folder: root, intermediate, and their keys.',
  options: {
    ...commonOptions,
    ...makingOptions,
    from: {
      type: 'string',
      value: '<folder>',
      help: "Take an intermediate that was made elsewhere, as in Istio's cacerts: ca-cert.pem, ca-key.pem, …",
    },
  },
  run: (dir, args, output) => {
    const from = args.text('from');
    const authority = initAuthority(dir, {
      ...authorityOptions(args, output),
      ...(from === undefined ? {} : { from }),
    });
    output.line(`✓ certificate authority of ${authority.trustDomain} in ${dir}; its root is ${dir}/root.pem`);
    return 0;
  },
};
