import { BlockList, isIP } from 'node:net';

const loopbacks = new BlockList();
loopbacks.addSubnet('127.0.0.0', 8);
loopbacks.addAddress('::1', 'ipv6');
// The unspecified addresses reach this host as well.
loopbacks.addSubnet('0.0.0.0', 8);
loopbacks.addAddress('::', 'ipv6');

/** Link-local, which nothing has a certificate or keys of an issuer on, and where clouds hand out credentials. */
const forbidden = new BlockList();
forbidden.addSubnet('169.254.0.0', 16);
forbidden.addSubnet('fe80::', 10, 'ipv6');
// Metadata services elsewhere: EC2 by IPv6, Azure, Alibaba Cloud, Oracle Cloud.
forbidden.addAddress('fd00:ec2::254', 'ipv6');
forbidden.addAddress('168.63.129.16');
forbidden.addAddress('100.100.100.200');
forbidden.addAddress('192.0.0.192');

/** Whether a host of a URL, without brackets, is this host: an address, `localhost`, or a name below that. */
export function isLoopbackHost(host: string): boolean {
  const family = isIP(host);
  if (family !== 0) return loopbacks.check(host, family === 4 ? 'ipv4' : 'ipv6');
  return /^([^.]+\.)*localhost\.?$/i.test(host);
}

/** Why nothing is ever fetched from this URL, whoever names it; nothing where its host is a name: that is looked at when it is asked. */
export function whyNeverFetched(url: string): string | undefined {
  return whyNoAddress(hostOf(url), true);
}

/** The host of a URL without brackets; empty where there is none. */
export function hostOf(url: string): string {
  return URL.parse(url)?.hostname.replace(/^\[|\]$/g, '') ?? '';
}

/** Why nothing may be fetched from this address, or nothing. A name is no address: it is looked at once it is known. */
export function whyNoAddress(address: string, loopback: boolean): string | undefined {
  const family = isIP(address);
  if (family !== 0 && forbidden.check(address, family === 4 ? 'ipv4' : 'ipv6')) {
    return 'nothing is fetched from link-local addresses and metadata services';
  }
  if (!loopback && isLoopbackHost(address)) return 'an issuer elsewhere may not name this host';
  return undefined;
}
