// Certificates in folders that are exchanged as Kubernetes exchanges mounted Secrets: an Envoy reads them by
// file-based SDS, a process of the mesh with its file source.
import t from 'tap';
import { fileIdentitySource } from '../../../src/identity/file-source.ts';
import { certificateFolder } from './certificate-folder.ts';
import { rotationSuite } from './rotation-suite.ts';

rotationSuite(t, 'files', (t, first) => {
  const { path, secrets, write } = certificateFolder(t, first);
  return { secrets, write, identity: () => fileIdentitySource({ directory: path, pollMs: 50 }) };
});
