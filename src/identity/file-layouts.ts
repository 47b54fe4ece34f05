import { MeshError } from '../errors.ts';

/** Who wrote the files: it says where they are and what they are called. */
export type FileLayout = 'istio' | 'istio-credentials' | 'gke' | 'cert-manager';

/** Names of the three files, and where they are when nobody says. */
export interface LayoutFiles {
  readonly directory: string;
  /** Leaf first, then intermediates. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Roots of the own trust domain. */
  readonly rootFile: string;
}

const istioNames = { certificateFile: 'cert-chain.pem', keyFile: 'key.pem', rootFile: 'root-cert.pem' } as const;
/** Istio looks here for certificates that somebody else has put there, and so does GKE put its own. */
const credentials = '/var/run/secrets/workload-spiffe-credentials';

const layouts: Readonly<Record<FileLayout, LayoutFiles>> = {
  // Istio's agent writes the same names into the folder that OUTPUT_CERTS names.
  istio: { directory: '/etc/certs', ...istioNames },
  'istio-credentials': { directory: credentials, ...istioNames },
  gke: {
    directory: credentials,
    certificateFile: 'certificates.pem',
    keyFile: 'private_key.pem',
    rootFile: 'ca_certificates.pem',
  },
  // Names of Kubernetes for TLS; the folder is where csi-driver-spiffe is mounted by its documentation.
  'cert-manager': {
    directory: '/var/run/secrets/spiffe.io',
    certificateFile: 'tls.crt',
    keyFile: 'tls.key',
    rootFile: 'ca.crt',
  },
};

/** All layouts, in the order of the documentation. */
export const fileLayouts: readonly FileLayout[] = Object.keys(layouts) as FileLayout[];

/**
 * The files of a layout.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for a name that is none.
 */
export function filesOfLayout(layout: FileLayout): LayoutFiles {
  if (Object.hasOwn(layouts, layout)) return layouts[layout];
  const given = JSON.stringify(String(layout).slice(0, 100));
  const message = `fileIdentitySource: layout: expected one of ${fileLayouts.join(', ')}, not ${given}`;
  throw new MeshError('ERR_MESH_OPTION_INVALID', message);
}
