import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { createSystemDns, parseHosts, type SystemDnsParts } from '../../src/runtime/system-dns.ts';

const unknown = async (): Promise<never> => {
  throw Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' });
};
const record = (address: string, ttl: number) => ({ address, ttl });

t.test('the hosts file: names without case, several addresses, comments, nonsense', async (t) => {
  const hosts = parseHosts(
    ['127.0.0.1 localhost Alias', '::1\tlocalhost', '# 10.0.0.9 no', '10.0.0.1 a # b', 'x y', '10.0.0.1 a', ''].join(
      '\r\n',
    ),
  );
  t.same(
    [...hosts],
    [
      ['localhost', ['127.0.0.1', '::1']],
      ['alias', ['127.0.0.1']],
      ['a', ['10.0.0.1']],
    ],
  );
});

t.test('who answers: hosts file, then DNS with its time to live, then the system', async (t) => {
  const hostsFile = `${t.testdir({ hosts: '10.1.1.1 listed.example.com\n' })}/hosts`;
  const asked: string[] = [];
  const parts: SystemDnsParts = {
    hostsFile,
    resolve: async (name, family) => {
      asked.push(`dns ${name} ${family}`);
      if (name === 'both.example.com')
        return family === 4 ? [record('10.0.0.1', 30), record('10.0.0.2', 20)] : [record('fd00::1', 60)];
      if (name === 'six.example.com' && family === 6) return [record('fd00::2', 10)];
      if (name === 'half.example.com') {
        if (family === 6) return [record('fd00::3', 10)];
        throw Object.assign(new Error('queryA ETIMEOUT'), { code: 'ETIMEOUT' });
      }
      if (name === 'four.example.com') {
        if (family === 4) return [record('10.0.0.4', 10)];
        throw Object.assign(new Error('queryAaaa ESERVFAIL'), { code: 'ESERVFAIL' });
      }
      return unknown();
    },
    lookup: async (name) => {
      asked.push(`system ${name}`);
      return ['192.0.2.1'];
    },
  };
  const ask = createSystemDns(parts);
  for (const [name, answer, questions] of [
    ['listed.example.com', { addresses: ['10.1.1.1'] }, []],
    ['LISTED.example.com.', { addresses: ['10.1.1.1'] }, []],
    [
      'both.example.com',
      { addresses: ['10.0.0.1', '10.0.0.2', 'fd00::1'], ttlMs: 20_000 },
      ['dns both.example.com 4', 'dns both.example.com 6'],
    ],
    ['six.example.com', { addresses: ['fd00::2'], ttlMs: 10_000 }, ['dns six.example.com 4', 'dns six.example.com 6']],
    [
      'half.example.com',
      { addresses: ['192.0.2.1'] },
      ['dns half.example.com 4', 'dns half.example.com 6', 'system half.example.com'],
    ],
    [
      'four.example.com',
      { addresses: ['10.0.0.4'], ttlMs: 10_000 },
      ['dns four.example.com 4', 'dns four.example.com 6'],
    ],
    [
      'reviews.bookinfo',
      { addresses: ['192.0.2.1'] },
      ['dns reviews.bookinfo 4', 'dns reviews.bookinfo 6', 'system reviews.bookinfo'],
    ],
    ['reviews', { addresses: ['192.0.2.1'] }, ['system reviews']],
    ['a.localhost', { addresses: ['192.0.2.1'] }, ['system a.localhost']],
  ] as const) {
    t.same(await ask(name), answer, name);
    t.same(asked.splice(0), questions, name);
  }
  await writeFile(hostsFile, '10.2.2.2 reviews\n10.3.3.3 other\n');
  t.same(await ask('reviews'), { addresses: ['10.2.2.2'] }, 'an edited hosts file is read again');
});

t.test('without a hosts file, and when nobody knows the name', async (t) => {
  const ask = createSystemDns({ hostsFile: `${t.testdir()}/none`, resolve: unknown, lookup: unknown });
  await t.rejects(ask('nowhere.example.com'), { code: 'ENOTFOUND' });
});

t.test('the real system knows localhost', async (t) => {
  const { addresses } = await createSystemDns()('localhost');
  t.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'));
});
