import { CallCredentials, ChannelCredentials, type Metadata } from '@grpc/grpc-js';
import { MeshError } from 'inmesh';

/** What the credentials of a channel ask of the mesh. */
export interface AskedCredentials {
  /** Connections must be TLS: those in plaintext get no call. */
  readonly secure: boolean;
  /** Of all calls of the channel; absent: none. */
  readonly call: CallCredentials | undefined;
}

const mark: unique symbol = Symbol('inmesh.credentials');

/**
 * Credentials of a channel whose connections the mesh must secure: calls fail with UNAUTHENTICATED
 * where the connection would be plaintext. To be combined with call credentials, which `createInsecure()`
 * cannot be.
 *
 * @example
 * const secured = credentials.combineChannelCredentials(meshCredentials(), credentials.createFromMetadataGenerator(tokens));
 */
export function meshCredentials(): ChannelCredentials {
  return new MeshCredentials();
}

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

class MeshCredentials extends ChannelCredentials {
  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other instanceof MeshCredentials;
  }

  override _createSecureConnector(_target: unknown, _options: unknown, call?: CallCredentials): SecureConnector {
    const connector: SecureConnector & { readonly [mark]: true } = {
      [mark]: true,
      connect: () =>
        Promise.reject(new Error('meshCredentials() are for channels of the mesh: give meshChannelOptions(mesh), too')),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => call ?? CallCredentials.createEmpty(),
      destroy() {},
    };
    return connector;
  }
}

/**
 * What the credentials of a channel mean where the mesh makes the connections.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for a TLS of their own: its roots and keys would not be
 *   used, and a client that pins its server must not find that out by chance.
 */
export function readCredentials(credentials: ChannelCredentials | undefined): AskedCredentials {
  if (credentials?._isSecure() !== true) return { secure: false, call: undefined };
  const connector = credentials._createSecureConnector({ scheme: 'dns', path: 'localhost:443' }, {});
  if ((connector as { readonly [mark]?: true })[mark] !== true) {
    const message =
      'the mesh makes the TLS of its connections, and would not use that of these channel credentials: give ' +
      "credentials.createInsecure() or meshCredentials(), and a DestinationRule's tls for servers outside of the mesh";
    throw new MeshError('ERR_MESH_OPTION_INVALID', message);
  }
  const call = connector.getCallCredentials();
  return { secure: true, call: isEmpty(call) ? undefined : call };
}

export function isEmpty(credentials: CallCredentials): boolean {
  return credentials._equals(CallCredentials.createEmpty());
}

/** What the credentials add to a call. Rejects with whatever they throw. */
export async function askCredentials(
  credentials: CallCredentials,
  method: string,
  authority: string,
): Promise<Metadata> {
  const service = method.slice(0, Math.max(0, method.lastIndexOf('/')));
  return credentials.generateMetadata({ method_name: method, service_url: `https://${authority}${service}` });
}
