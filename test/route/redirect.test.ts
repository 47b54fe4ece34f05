import t from 'tap';
import type { Redirect, RouteMatch } from '../../src/model/route.ts';
import { compileRedirect, requestedUrl } from '../../src/route/redirect.ts';
import type { RoutableRequest } from '../../src/route/request-view.ts';
import { routable } from '../support/routable.ts';

const prefix = (value: string): RouteMatch => ({ path: { kind: 'prefix', value } });
const host = (hostHeader: string, path = '/a?q=1'): RoutableRequest => routable(path, { hostHeader });
const table: readonly (readonly [string, Omit<Redirect, 'status'>, RoutableRequest, string, RouteMatch?])[] = [
  ['nothing given', {}, host('h'), 'http://h/a?q=1'],
  ['authority', { authority: 'new' }, host('h:81'), 'http://new/a?q=1'],
  ['authority with port', { authority: 'new:8080' }, host('h'), 'http://new:8080/a?q=1'],
  ['path keeps the query', { path: { value: '/new', prefix: false } }, host('h'), 'http://h/new?q=1'],
  ['path with a query of its own', { path: { value: '/new?x', prefix: false } }, host('h'), 'http://h/new?x'],
  ['path, no query', { path: { value: '/new', prefix: false } }, host('h', '/a/b'), 'http://h/new'],
  ['prefix', { path: { value: '/new', prefix: true } }, host('h', '/a/b?q=1'), 'http://h/new/b?q=1', prefix('/a')],
  ['prefix without match', { path: { value: '/new/', prefix: true } }, host('h', '/a?q'), 'http://h/new/a?q'],
  ['regex', { pathRegex: { pattern: '/a/(.*)', substitution: '/\\1' } }, host('h', '/a/b?q'), 'http://h/b?q'],
  ['scheme', { scheme: 'https' }, host('h'), 'https://h/a?q=1'],
  ['scheme keeps another port', { scheme: 'https' }, host('h:8080'), 'https://h:8080/a?q=1'],
  ['scheme drops the default port of before', { scheme: 'https' }, host('h:80'), 'https://h/a?q=1'],
  ['the same scheme does not', { scheme: 'http' }, host('h:80'), 'http://h:80/a?q=1'],
  ['port', { port: 8443 }, host('h'), 'http://h:8443/a?q=1'],
  ['port replaces port', { port: 8443 }, host('h:81'), 'http://h:8443/a?q=1'],
  ['port and authority', { port: 8443, authority: 'new' }, host('h:81'), 'http://new:8443/a?q=1'],
  ['default port is left out', { port: 80, authority: 'new' }, host('h'), 'http://new/a?q=1'],
  ['default port of the new scheme', { port: 443, scheme: 'https' }, host('h'), 'https://h/a?q=1'],
  ['default port of the other scheme', { port: 80, scheme: 'https' }, host('h'), 'https://h:80/a?q=1'],
  ['a default port leaves the port that was asked for, as in Envoy', { port: 80 }, host('h:81'), 'http://h:81/a?q=1'],
  ['port of the protocol', { port: 'protocol-default', scheme: 'https' }, host('h'), 'https://h/a?q=1'],
  ['port of the request', { port: 'request', scheme: 'https' }, host('h'), 'https://h:9080/a?q=1'],
  ['IPv6', { port: 8443 }, host('[::1]:81'), 'http://[::1]:8443/a?q=1'],
  ['IPv6 without port', { port: 8443 }, host('[::1]'), 'http://[::1]:8443/a?q=1'],
  ['scheme as forwarded', {}, routable('/a', { headers: ['x-forwarded-proto', 'https'] }), 'https://h/a'],
  ['Host header of the application', {}, routable('/a', { headers: ['Host', 'mine'] }), 'http://mine/a'],
];

for (const [name, redirect, request, location, match] of table) {
  t.test(name, async (t) => {
    t.equal(compileRedirect({ status: 301, ...redirect })(request, match, 9_080), location);
  });
}

t.test('the URL as it was requested', async (t) => {
  t.equal(requestedUrl(routable('/a?b', { secure: true, hostHeader: 'h:81' })), 'https://h:81/a?b');
});
