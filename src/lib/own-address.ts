import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

/**
 * An address of this machine that others may see: the first of IPv4, else of IPv6, that is neither
 * loopback nor bound to a link; nothing without a network.
 */
export function addressAmong(
  interfaces: Readonly<
    Record<string, readonly Pick<NetworkInterfaceInfo, 'address' | 'family' | 'internal'>[] | undefined>
  >,
): string | undefined {
  const all = Object.values(interfaces).flatMap((each) => each ?? []);
  const usable = all.filter(({ address, internal }) => !internal && !/^(fe80:|169\.254\.)/i.test(address));
  return (usable.find(({ family }) => family === 'IPv4') ?? usable[0])?.address;
}

let known: string | undefined;

/** {@link addressAmong} the interfaces of this machine, looked up once. */
export function ownAddress(): string | undefined {
  return (known ??= addressAmong(networkInterfaces()));
}
