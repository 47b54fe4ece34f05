import type { Dice } from './dice.ts';

const methods = 'GET GET GET POST POST PUT HEAD OPTIONS DELETE CONNECT TRACE PRI PROPFIND QUERY get G@T'.split(' ');
const versions = 'HTTP/1.1 HTTP/1.1 HTTP/1.1 HTTP/1.1 HTTP/1.0 HTTP/0.9 HTTP/2.0 HTTP/1.2 http/1.1 HTTP/11'.split(' ');
/** Parts of targets; many mean something to some router. */
const parts = [
  '/',
  '/',
  '//',
  '\\',
  '.',
  '..',
  '%2e',
  '%2F',
  '%5c',
  '%00',
  '%',
  '%zz',
  '%c0%ae',
  '%ff',
  '%E2%84%AA',
  '%25',
  ';',
  ';a=b',
  '?',
  '#',
  '&',
  '=',
  'admin',
  'ADMIN',
  '%61dmin',
  'users',
  'keys',
  'trailers',
  'hints',
  'early',
  'access_token',
  'access_token[]',
  '[access_token]',
  '__proto__',
  'constructor',
  '*',
  ':',
  '@',
  'http://',
  'https://',
  'web',
  'evil.example',
  '\u00e9',
  '\u212a',
  ' ',
  'test.Echo',
  'Unary',
  '+',
  ',',
  '|',
  '<',
  '"',
  "'",
  '~',
  'x'.repeat(300),
] as const;
const names = [
  'Host',
  'host',
  'Content-Length',
  'content-length',
  'Transfer-Encoding',
  'Transfer_Encoding',
  'Connection',
  'Upgrade',
  'Expect',
  'TE',
  'Trailer',
  'Cookie',
  'Authorization',
  'X-Token',
  'X-Role',
  'X-Forwarded-For',
  'x-forwarded-for',
  'X-Forwarded-Client-Cert',
  'Origin',
  'Access-Control-Request-Method',
  'Access-Control-Request-Headers',
  'traceparent',
  'tracestate',
  'baggage',
  'b3',
  'x-b3-traceid',
  'x-b3-sampled',
  'x-request-id',
  'grpc-timeout',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-attempt-count',
  'endpoint-load-metrics-format',
  'Content-Type',
  'Content-Encoding',
  'Accept',
  'Accept-Version',
  'X-HTTP-Method-Override',
  'X-User',
  'x-payload',
  'x-sub',
  'HTTP2-Settings',
  'Keep-Alive',
  'Proxy-Connection',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  ':path',
  'x-inmesh-principal',
  'X-A',
  'X A',
  'X-A ',
  '',
  'Forwarded',
  'Range',
  'If-None-Match',
  'sec-websocket-key',
  'accept-encoding',
] as const;
const values = [
  '',
  '0',
  '5',
  '-1',
  '+5',
  '0x5',
  '5, 5',
  '18446744073709551616',
  'chunked',
  'Chunked',
  'gzip, chunked',
  'chunked, identity',
  '\x0bchunked',
  'close',
  'keep-alive',
  'Upgrade',
  'upgrade, http2-settings',
  'h2c',
  'websocket',
  '100-continue',
  '200-ok',
  'trailers',
  'x-a',
  'web',
  'web:80',
  'a, b',
  'secret.example',
  'user@web',
  '[::1]',
  '[::1',
  '127.0.0.1:99999',
  'https://a.example',
  'https://x.b.example',
  'null',
  'GET',
  '*',
  'guest',
  'admin',
  '10.9.0.1',
  '1.2.3.4, ::1',
  '::ffff:10.9.0.1',
  '[::1]:80',
  ',,,',
  'By=x;URI=spiffe://a',
  '"',
  'URI="',
  'application/json',
  'application/grpc',
  'text/plain; charset=utf-7',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/json; charset=bogus',
  'gzip',
  'deflate',
  'br',
  'TEXT',
  'JSON',
  '1',
  '0',
  '1S',
  '99999999H',
  '1m',
  '-1m',
  '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  '00-0-0-0',
  '80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1',
  'k=v;p,k2=%ff',
  'bytes=0-',
  'AAMAAABkAARAAAAAAAIAAAAA',
  'a\tb',
  '\u00ff\u00fe',
  'a\rb',
  'a\nb',
  'a\0b',
  'x'.repeat(2_000),
  '9f1b',
  "' OR 1=1",
  '$(jndi:x)',
  '%0d%0aX: y',
  '\u007f',
] as const;

export interface Sources {
  /** A good token. */
  readonly token: string;
}

function target(dice: Dice): string {
  if (dice.chance(0.3)) return dice.pick(['/', '/admin', '/x?a=b', '/trailers', '/hints', '/early', '*', 'web:80']);
  const made = dice.several(7, () => dice.pick(parts)).join('');
  return dice.chance(0.8) ? `/${made}` : made;
}

function header(dice: Dice, { token }: Sources): string {
  const fold = dice.chance(0.02) ? '\r\n ' : '';
  const name = dice.pick(names);
  const wrong = `${token.slice(0, dice.below(token.length))}${dice.pick(['', '.', '=', '\u00e9', 'A'])}`;
  const value = dice.chance(0.15)
    ? dice.pick([`Bearer ${token}`, token, `session=${token}; a=b`, `Bearer ${wrong}`, `session=${wrong}`])
    : dice.pick(values);
  return `${name}${dice.chance(0.02) ? ' ' : ''}: ${fold}${value}${dice.pick(['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n'])}`;
}

const sizes = ['1', '5', '05', '0', 'fffffffff', '-1', '0x1', '1 ', '1;a=b', '1;a="\n"', 'G'] as const;

function chunks(dice: Dice): string {
  const all = dice.several(
    4,
    () => `${dice.chance(0.7) ? '5' : dice.pick(sizes)}\r\n{"a":${dice.chance(0.9) ? '\r\n' : ''}`,
  );
  const trailers = dice.several(
    3,
    () =>
      `${dice.pick(['x-t', 'te', 'content-type', 'host', 'x-role', 'content-length', 'connection', 'etag', 'etag', '__proto__'])}: ${dice.pick(['a', 'gzip', '1', 'guest', '\u00ff'])}\r\n`,
  );
  return `${all.join('')}${dice.chance(0.85) ? `0\r\n${trailers.join('')}\r\n` : ''}`;
}

const bodies = [
  '',
  '',
  '{"a":1}',
  '{"__proto__":{"x":1}}',
  '[',
  'a=b&a[__proto__]=c',
  '\x1f\x8b\x08\0',
  '\x00\x00\x00\x00\x05hello',
  'x'.repeat(5_000),
] as const;

const usual = [
  'Accept: */*',
  'Accept-Encoding: gzip',
  'Origin: https://a.example',
  'X-Request-Id: 7',
  'Cookie: a=b',
  'Expect: 100-continue',
  'Connection: close',
  'X-User: ann',
] as const;

/** One that is in order but for what an application may stumble over: its body, its trailers, how it ends. */
function usualRequest(dice: Dice, { token }: Sources): string {
  const path = dice.pick([
    '/',
    '/x?a=b',
    '/trailers',
    '/hints',
    '/early',
    '/ADMIN',
    '/asked',
    '/asked?x',
    '/a%2Fb;c',
    '/test.Echo/Unary',
    `/x?access_token=${token}`,
  ]);
  const more = dice.several(3, () => `${dice.pick(usual)}\r\n`).join('');
  const bearer = dice.chance(0.2) ? `Authorization: Bearer ${token}\r\n` : '';
  const head = `${path} HTTP/1.1\r\nHost: web\r\n${more}${bearer}`;
  if (dice.chance(0.4)) return `GET ${head}\r\n`;
  if (dice.chance(0.5))
    return `POST ${head}Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n${chunks(dice)}`;
  const body = dice.pick(bodies);
  return `POST ${head}Content-Length: ${body.length + (dice.chance(0.8) ? 0 : 3)}\r\nContent-Type: application/json\r\n\r\n${body}`;
}

/** One request, or what looks like one. */
export function http1Request(dice: Dice, sources: Sources): string {
  if (dice.chance(0.5)) return usualRequest(dice, sources);
  const host = dice.chance(0.9) ? 'Host: web\r\n' : '';
  const some = dice.several(6, () => header(dice, sources)).join('');
  const line = `${dice.pick(methods)} ${target(dice)} ${dice.pick(versions)}\r\n`;
  if (dice.chance(0.25))
    return `${line}${host}Transfer-Encoding: chunked\r\nTrailer: x-t, te\r\n${some}\r\n${chunks(dice)}`;
  const body = dice.pick(bodies);
  const length = dice.chance(0.9) ? body.length : body.length + dice.below(20);
  const sized =
    body === '' && dice.chance(0.8)
      ? ''
      : `Content-Length: ${length}\r\nContent-Type: ${dice.pick(['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'application/grpc'])}\r\n`;
  return `${line}${host}${sized}${some}\r\n${body}`;
}

export function http1Bytes(dice: Dice, sources: Sources): Buffer {
  const requests = [http1Request(dice, sources), ...dice.several(2, () => http1Request(dice, sources))];
  return Buffer.from(requests.join(''), 'latin1');
}
