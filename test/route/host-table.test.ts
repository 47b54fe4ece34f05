import t from 'tap';
import type { VirtualHost } from '../../src/model/route.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { createHostTable, type HostTarget } from '../../src/route/host-table.ts';
import { route, snapshot } from '../support/snapshot.ts';

const host = (name: string): VirtualHost => ({ name, routes: [route('c')] });
const table = (names: readonly string[], changes: Partial<Snapshot> = {}) => {
  const hosts = new Map(names.map((name) => [name, host(name)]));
  return createHostTable({ ...snapshot({}, []), hosts, ...changes });
};
const nameOf = (target: HostTarget): string => (target.kind === 'host' ? target.name : target.kind);

t.test('an origin is found by host and port', async (t) => {
  const hosts = table(['reviews:80', 'reviews:9080', 'secure:443', '10.0.0.1:80', '[::1]:80']);
  const rows = {
    'http://reviews': 'reviews:80',
    'http://reviews:80': 'reviews:80',
    'http://reviews/': 'reviews:80',
    'http://reviews:9080': 'reviews:9080',
    'http://Reviews': 'reviews:80',
    'HTTP://REVIEWS': 'reviews:80',
    'http://reviews.': 'reviews:80',
    'https://secure': 'secure:443',
    'http://secure:443': 'secure:443',
    'http://10.0.0.1': '10.0.0.1:80',
    'http://[::1]': '[::1]:80',
    'http://[0:0:0:0:0:0:0:1]': '[::1]:80',
    'https://reviews': 'passthrough',
    'http://reviews:81': 'passthrough',
    'http://other': 'passthrough',
  };
  for (const [origin, name] of Object.entries(rows)) t.equal(nameOf(hosts.find(origin)), name, origin);
});

t.test('hosts that nothing names pass or are refused', async (t) => {
  t.equal(table([]).find('http://other').kind, 'passthrough');
  t.equal(table([], { outboundPolicy: 'REGISTRY_ONLY' }).find('http://other').kind, 'refused');
  t.equal(nameOf(table(['a:80'], { outboundPolicy: 'REGISTRY_ONLY' }).find('http://a')), 'a:80');
});

t.test('wildcards: the most specific first, never the bare suffix, exact names before all', async (t) => {
  const wildcard = (suffix: string, port = 80) => ({ suffix, port, virtualHost: host(`*${suffix}:${port}`) });
  const hosts = table(['x.a.com:80'], {
    wildcardHosts: [wildcard('.b.a.com'), wildcard('.a.com'), wildcard('.a.com', 443)],
  });
  t.equal(nameOf(hosts.find('http://y.a.com')), '*.a.com:80');
  t.equal(nameOf(hosts.find('http://z.y.a.com')), '*.a.com:80', 'any depth');
  t.equal(nameOf(hosts.find('http://y.b.a.com')), '*.b.a.com:80');
  t.equal(nameOf(hosts.find('http://x.a.com')), 'x.a.com:80');
  t.equal(nameOf(hosts.find('https://y.a.com')), '*.a.com:443');
  t.equal(nameOf(hosts.find('http://a.com')), 'passthrough');
  t.equal(nameOf(hosts.find('http://.a.com')), 'passthrough');
  t.equal(nameOf(hosts.find('http://evila.com')), 'passthrough');
  t.equal(nameOf(table([], { wildcardHosts: [wildcard('')] }).find('http://any')), '*:80');
});

t.test('the Host header is what the caller wrote, without the default port', async (t) => {
  const hosts = table(['reviews:80', 'reviews:9080', 'secure:443', '[::1]:80']);
  const header = (origin: string): string => {
    const target = hosts.find(origin);
    return target.kind === 'host' ? target.hostHeader : '';
  };
  t.equal(header('http://Reviews:80'), 'reviews');
  t.equal(header('http://reviews:9080'), 'reviews:9080');
  t.equal(header('https://secure'), 'secure');
  t.equal(header('http://[::1]:80'), '[::1]');
});

t.test('only the TLS of the application has a name to verify, without dot and brackets', async (t) => {
  const hosts = table(['secure:443', '[::1]:443', 'plain:80']);
  const tlsHost = (origin: string): string | undefined => {
    const target = hosts.find(origin);
    return target.kind === 'host' ? target.tlsHost : 'none';
  };
  t.equal(tlsHost('https://secure'), 'secure');
  t.equal(tlsHost('https://secure.'), 'secure');
  t.equal(tlsHost('https://[::1]'), '::1');
  t.equal(tlsHost('http://plain'), undefined);
});

t.test('what is not an http origin is refused with its text', async (t) => {
  const notHosts = ['', 'a b', 'a:99999', 'reviews/x.example', 'reviews\\x', 'reviews?x', 'reviews#x', 'x@reviews'];
  for (const origin of [
    '',
    'reviews',
    'ftp://reviews',
    'ws://reviews',
    ...[...notHosts, 'review%73', 'rev\tiews', 'reviews//'].map((host) => `http://${host}`),
  ]) {
    t.throws(() => table(['reviews:80']).find(origin), { code: 'ERR_MESH_OPTION_INVALID' }, origin);
  }
});

t.test('a second look at an origin gives the same object; two names of a host share one matcher', async (t) => {
  const shared = host('shared');
  const hosts = table([], {
    hosts: new Map([
      ['a:80', shared],
      ['b:80', shared],
    ]),
  });
  const [a, b] = [hosts.find('http://a'), hosts.find('http://b')];
  t.equal(hosts.find('http://a'), a);
  t.ok(a.kind === 'host' && b.kind === 'host' && a.matcher === b.matcher);
});

t.test('a process that calls ever new hosts does not grow for ever', async (t) => {
  const hosts = table(['known:80']);
  const known = hosts.find('http://known');
  for (let i = 0; i < 10_001; i++) hosts.find(`http://h${i}`);
  t.not(hosts.find('http://known'), known, 'what was remembered was dropped');
  t.equal(nameOf(hosts.find('http://known')), 'known:80');
});
