import t from 'tap';
import { addressAmong, ownAddress } from '../../src/lib/own-address.ts';

const v4 = (address: string, internal = false) => ({ address, family: 'IPv4', internal }) as const;
const v6 = (address: string, internal = false) => ({ address, family: 'IPv6', internal }) as const;

for (const [name, interfaces, wanted] of [
  ['no network', {}, undefined],
  ['loopback only', { lo: [v4('127.0.0.1', true), v6('::1', true)] }, undefined],
  [
    'the first that others may see',
    { lo: [v4('127.0.0.1', true)], eth0: [v4('10.0.0.7')], eth1: [v4('10.0.0.8')] },
    '10.0.0.7',
  ],
  ['IPv4 before IPv6', { eth0: [v6('2001:db8::1'), v4('10.0.0.7')] }, '10.0.0.7'],
  ['IPv6 where there is nothing else', { eth0: [v6('fe80::1'), v6('2001:db8::1')] }, '2001:db8::1'],
  ['nothing that is bound to a link', { eth0: [v6('FE80::1'), v4('169.254.1.1')] }, undefined],
  ['an interface without addresses', { eth0: undefined, eth1: [v4('10.0.0.7')] }, '10.0.0.7'],
] as const) {
  t.test(name, async (t) => t.equal(addressAmong(interfaces), wanted));
}

t.test('of this machine it is always the same', async (t) => t.equal(ownAddress(), ownAddress()));
