import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import type { AskName } from '../../src/runtime/resolver.ts';
import { createSystemDns } from '../../src/runtime/system-dns.ts';

/** What a name has: addresses, or a failure. */
export type DnsRecords =
  | { readonly addresses: readonly string[]; readonly ttlSeconds: number }
  | 'SERVFAIL'
  | 'NXDOMAIN'
  /** No answer at all. */
  | 'silence';

/** A DNS server of a case. */
export interface DnsServer {
  /** Asks it as the mesh asks the servers of the machine: over UDP, with the time to live. */
  readonly ask: AskName;
  /** Questions so far. */
  readonly asked: () => number;
  set(records: DnsRecords): void;
}

const typeA = 1;
const typeAaaa = 28;

/** Answers every question with the same records, over UDP on loopback. */
export async function dnsServer(
  owner: { teardown(end: () => unknown): unknown },
  first: DnsRecords,
): Promise<DnsServer> {
  let records = first;
  let asked = 0;
  const socket = createSocket('udp4', (query, { address, port }) => {
    asked++;
    if (records !== 'silence') socket.send(reply(query, records), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  owner.teardown(() => socket.close());
  const resolver = new Resolver({ timeout: 300, tries: 1 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  const ask = createSystemDns({
    hostsFile: '/nowhere',
    resolve: (name, family) =>
      family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true }),
    lookup: async () => {
      throw new Error('the system does not know this name');
    },
  });
  return {
    ask,
    asked: () => asked,
    set: (next) => {
      records = next;
    },
  };
}

/** RFC 1035 section 4: the question again, and an answer for each address of the family that was asked for. */
function reply(query: Buffer, records: Exclude<DnsRecords, 'silence'>): Buffer {
  let end = 12;
  while (query[end] !== 0) end += (query[end] ?? 0) + 1;
  const question = query.subarray(12, end + 5);
  const type = query.readUInt16BE(end + 1);
  const found = typeof records === 'string' ? [] : records.addresses.filter((each) => familyOf(each) === type);
  const ttl = typeof records === 'string' ? 0 : records.ttlSeconds;
  const code = records === 'SERVFAIL' ? 2 : records === 'NXDOMAIN' ? 3 : 0;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(found.length, 6);
  const answers = found.map((address) => {
    const data = bytesOf(address);
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0);
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(ttl, 6);
    record.writeUInt16BE(data.length, 10);
    return Buffer.concat([record, data]);
  });
  return Buffer.concat([head, question, ...answers]);
}

const familyOf = (address: string): number => (address.includes(':') ? typeAaaa : typeA);

function bytesOf(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  // Only ::1 and its like are needed here.
  const bytes = Buffer.alloc(16);
  bytes[15] = Number.parseInt(address.slice(2), 16);
  return bytes;
}
