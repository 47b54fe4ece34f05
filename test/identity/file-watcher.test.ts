import t from 'tap';
import { fileWatcherOptions } from '../../src/identity/file-watcher.ts';

const pair = { certificate_file: '/tls/cert.pem', private_key_file: '/tls/key.pem' };
const read = { certificateFile: '/tls/cert.pem', keyFile: '/tls/key.pem' };

t.test("reads a file_watcher's configuration as gRPC does", (t) => {
  const cases: readonly (readonly [string, object, object])[] = [
    [
      'a file of roots, every ten minutes by default',
      { ca_certificate_file: '/tls/ca.pem' },
      { rootFile: '/tls/ca.pem', pollMs: 600_000 },
    ],
    ['an interval', { ca_certificate_file: 'ca.pem', refresh_interval: '1.5s' }, { rootFile: 'ca.pem', pollMs: 1_500 }],
    [
      'no interval below a millisecond',
      { ca_certificate_file: 'ca.pem', refresh_interval: '0.000001s' },
      { rootFile: 'ca.pem', pollMs: 1 },
    ],
    [
      'a bundle map',
      { spiffe_trust_bundle_map_file: '/tls/map.json' },
      { spiffeBundleMapFile: '/tls/map.json', pollMs: 600_000 },
    ],
    [
      'a bundle map goes before a file of roots (gRFC A87)',
      { ca_certificate_file: '/tls/ca.pem', spiffe_trust_bundle_map_file: '/tls/map.json' },
      { spiffeBundleMapFile: '/tls/map.json', pollMs: 600_000 },
    ],
    [
      'an empty name is none, and what is unknown is ignored',
      { ca_certificate_file: '/tls/ca.pem', spiffe_trust_bundle_map_file: '', future: [1] },
      { rootFile: '/tls/ca.pem', pollMs: 600_000 },
    ],
  ];
  for (const [what, config, expected] of cases) {
    t.strictSame(fileWatcherOptions({ ...pair, ...config }), { ...read, ...expected }, what);
  }
  t.end();
});

t.test('refuses a configuration that makes no identity, and names the field', (t) => {
  const roots = { ca_certificate_file: 'ca.pem' };
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /config: expected an object, not nothing/],
    [null, /config: expected an object, not null/],
    [[], /config: expected an object, not \[\]/],
    ['x', /config: expected an object, not "x"/],
    [roots, /certificate_file: expected a path, not nothing/],
    [{ ...roots, certificate_file: 'c' }, /private_key_file: expected a path, not nothing/],
    [{ ...pair, ...roots, private_key_file: 7 }, /private_key_file: expected a path, not 7/],
    [pair, /ca_certificate_file: expected a path, or one in spiffe_trust_bundle_map_file, not nothing/],
    [{ ...pair, ...roots, refresh_interval: '10m' }, /refresh_interval: expected a duration such as "600s", not "10m"/],
    [{ ...pair, ...roots, refresh_interval: 600 }, /refresh_interval/],
    [{ ...pair, ...roots, refresh_interval: '0s' }, /refresh_interval/],
    [{ ...pair, ...roots, refresh_interval: '-1s' }, /refresh_interval/],
  ];
  for (const [config, message] of cases) {
    t.throws(() => fileWatcherOptions(config), { code: 'ERR_MESH_OPTION_INVALID', message }, String(message));
  }
  t.end();
});
