// TLS-033: clients that go away when their TLS has come so far.
import { once } from 'node:events';
import { createSecureContext, type SecureContext, connect as tlsConnect } from 'node:tls';
import { makeAuthority } from '../support/certificates.ts';
import { authority, caller, connected, get, leavesNothing } from '../support/handshake-aborts.ts';

// Made once: most of what a client costs would be reading its certificates.
const contextOf = (
  { certificateChainPem: cert, privateKeyPem: key }: typeof caller,
  more: object = {},
): SecureContext => createSecureContext({ ca: authority.rootPem, cert, key, ...more });
const ours = contextOf(caller);
const ours12 = contextOf(caller, { maxVersion: 'TLSv1.2' });
const foreign = contextOf(makeAuthority().issue(caller.spiffeId));

/** The underlying connection of a TLS client, reset when TLS says that it has come so far. */
async function afterTls(
  port: number,
  event: 'keylog' | 'secureConnect' | 'data',
  secureContext: SecureContext = ours,
): Promise<void> {
  const raw = await connected(port);
  const socket = tlsConnect({ socket: raw, secureContext, checkServerIdentity: () => undefined });
  socket.on('error', () => {});
  const gone = once(raw, 'close').catch(() => {});
  socket.once(event, () => raw.resetAndDestroy());
  if (event === 'data') socket.write(get);
  await gone;
  socket.destroy();
}

leavesNothing({
  "after the server's flight, TLS 1.3": (port) => afterTls(port, 'keylog'),
  'after Finished, TLS 1.2': (port) => afterTls(port, 'secureConnect', ours12),
  'after Finished, TLS 1.3': (port) => afterTls(port, 'secureConnect'),
  'with a certificate that is refused': (port) => afterTls(port, 'secureConnect', foreign),
  'after the first byte of an answer': (port) => afterTls(port, 'data'),
});
