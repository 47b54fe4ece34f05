// Certificates over a Unix socket: our SDS server hands them to an Envoy, in both variants of the protocol, and to
// a process of the mesh.
import t from 'tap';
import { rotationSuite } from './rotation-suite.ts';
import { type SdsVariant, sdsSocket } from './sds-socket.ts';

for (const variant of ['GRPC', 'DELTA_GRPC'] satisfies SdsVariant[]) {
  rotationSuite(t, `SDS, ${variant}`, async (t, first) => {
    const socket = await sdsSocket(t, first, variant);
    return { secrets: socket.secrets(), write: socket.write, identity: socket.identity };
  });
}
