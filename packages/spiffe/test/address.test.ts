import t from 'tap';
import { findEndpoint, parseEndpoint } from '../src/address.ts';

const good: readonly (readonly [uri: string, target: string])[] = [
  ['unix:///run/spire/sockets/agent.sock', 'unix:///run/spire/sockets/agent.sock'],
  ['unix:/run/agent.sock', 'unix:///run/agent.sock'],
  ['UNIX:///run/agent.sock', 'unix:///run/agent.sock'],
  ['unix:///run/with%20space%3F.sock', 'unix:///run/with space?.sock'],
  [`unix:///${'a'.repeat(102)}`, `unix:///${'a'.repeat(102)}`],
  ['tcp://127.0.0.1:8000', 'ipv4:127.0.0.1:8000'],
  ['tcp://169.254.1.1:65535', 'ipv4:169.254.1.1:65535'],
  ['tcp://[::1]:8081', 'ipv6:[::1]:8081'],
];

const bad: readonly (readonly [uri: string, why: RegExp])[] = [
  ['', /the scheme is neither/],
  ['/run/agent.sock', /the scheme is neither/],
  ['http://127.0.0.1:8000', /the scheme is neither/],
  ['unix', /the scheme is neither/],
  ['unix:', /not absolute/],
  ['unix:run/agent.sock', /not absolute/],
  ['unix://', /no path/],
  ['unix:///', /no path/],
  ['unix:/', /no path/],
  ['unix://host/run/agent.sock', /has an authority/],
  ['unix://user@/run/agent.sock', /has an authority/],
  ['unix://run', /has an authority/],
  ['unix:///run/agent.sock?a=b', /has a query/],
  ['unix:///run/agent.sock?', /has a query/],
  ['unix:///run/agent.sock#a', /has a fragment/],
  ['unix:///run/%zz.sock', /percent-encoded/],
  ['unix:///run/%00.sock', /zero byte/],
  [`unix:///${'a'.repeat(200)}`, /its path has 201 bytes/],
  ['tcp:127.0.0.1:8000', /no host/],
  ['tcp://', /not an IP address/],
  ['tcp://:8000', /not an IP address/],
  ['tcp://localhost:8000', /not an IP address/],
  ['tcp://127.1:8000', /not an IP address/],
  ['tcp://127.0.0.256:8000', /not an IP address/],
  ['tcp://::1:8000', /not an IP address/],
  ['tcp://[127.0.0.1]:8000', /not an IP address/],
  ['tcp://[fe80::1%25eth0]:8000', /not an IP address/],
  ['tcp://127.0.0.1', /the port/],
  ['tcp://127.0.0.1:', /the port/],
  ['tcp://127.0.0.1:0', /the port/],
  ['tcp://127.0.0.1:65536', /the port/],
  ['tcp://127.0.0.1:80a', /the port/],
  ['tcp://127.0.0.1:8000/', /has a path/],
  ['tcp://127.0.0.1:8000/foo', /has a path/],
  ['tcp://user@127.0.0.1:8000', /user information/],
  ['tcp://127.0.0.1:8000?a', /has a query/],
  ['tcp://127.0.0.1:8000#a', /has a fragment/],
];

t.test('addresses of section 4 of the SPIFFE Workload Endpoint', async (t) => {
  for (const [uri, target] of good) t.same(parseEndpoint(uri, 'address'), { uri, target });
  for (const [uri, why] of bad) {
    t.throws(() => parseEndpoint(uri, 'address'), { code: 'ERR_MESH_OPTION_INVALID', message: why }, uri);
  }
});

t.test('the option goes before the variable, and one of them is needed', async (t) => {
  const environment = { SPIFFE_ENDPOINT_SOCKET: 'unix:///from/variable' };
  t.equal(findEndpoint(undefined, environment).uri, 'unix:///from/variable');
  t.equal(findEndpoint('unix:///from/option', environment).uri, 'unix:///from/option');
  for (const none of [{}, { SPIFFE_ENDPOINT_SOCKET: '' }]) {
    t.throws(() => findEndpoint(undefined, none), {
      code: 'ERR_MESH_OPTION_INVALID',
      message: /SPIFFE_ENDPOINT_SOCKET, for example unix:\/\//,
    });
  }
  t.throws(() => findEndpoint(undefined, { SPIFFE_ENDPOINT_SOCKET: 'x' }), {
    message: /^SPIFFE_ENDPOINT_SOCKET: expected/,
  });
  t.throws(() => findEndpoint('', environment), { message: /^address: expected/ });
});
