import t from 'tap';
import { checkValidity, invalidities, type ValidityCase } from './validity.ts';

const header = { apiVersion: 'networking.istio.io/v1', kind: 'Gateway' };
const http = '{number: 80, name: http, protocol: HTTP}';
const https = '{number: 443, name: https, protocol: HTTPS}';
const servers = (...each: readonly string[]): string => `{selector: {istio: ingressgateway}, servers: [${each}]}`;
const host = (text: string): string => servers(`{port: ${http}, hosts: [${JSON.stringify(text)}]}`);
const port = (text: string, more = ''): string => servers(`{port: ${text}, hosts: ["*"]${more}}`);
const tls = (text: string): string => servers(`{port: ${https}, hosts: [a.example.com], tls: {${text}}}`);
const files = 'serverCertificate: /a, privateKey: /b';

const hosts: readonly ValidityCase[] = [
  ...['*', '*.example.com', 'a.example.com', 'shop/a.example.com', './*.example.com', '*/*', '10.1.2.3', 'a.b.'].map(
    (text): ValidityCase => [`the host ${text}`, host(text)],
  ),
  ...[
    'short',
    'a..b',
    '*a.example.com',
    'a.*.com',
    'shop/short',
    'UNDER_SCORE.com',
    '~/a.com',
    '/a.com',
    'a.b/',
    '',
  ].map((text): ValidityCase => [`the host "${text}"`, host(text), /^spec\.servers\[0\]\.hosts\[0\]: /]),
  ['the namespace Shop_1', host('Shop_1/a.example.com'), /must have a namespace, \* or \. before its slash/],
  ['the host 2001:db8::1', host('2001:db8::1'), /hosts\[0\]: must be a full host name/],
  ['no host', servers(`{port: ${http}, hosts: []}`), /servers\[0\]: needs at least one host/],
  ['an absent list of hosts', servers(`{port: ${http}}`), /servers\[0\]: needs at least one host/],
];

const ports: readonly ValidityCase[] = [
  ...['HTTP', 'http', 'HTTP2', 'GRPC', 'GRPC-WEB', 'TCP', 'MONGO', 'REDIS', 'MYSQL'].map(
    (protocol): ValidityCase => [`the protocol ${protocol}`, port(`{number: 80, name: a, protocol: ${protocol}}`)],
  ),
  ['an unknown protocol', port('{number: 80, name: a, protocol: QUIC}'), /port\.protocol: must be a protocol/],
  ['an absent protocol', port('{number: 80, name: a}'), /port\.protocol: must be a protocol/],
  ['port 0', port('{number: 0, name: a, protocol: TCP}'), /port\.number: must be a port from 1 to 65535/],
  ['port 65536', port('{number: 65536, name: a, protocol: TCP}'), /port\.number: must be a port/],
  ['port 65535', port('{number: 65535, name: a, protocol: TCP}')],
  ['a port in quotes', port('{number: "80", name: a, protocol: TCP}'), /port\.number: must be an integer/],
  ['a port without a name', port('{number: 80, protocol: TCP}'), /servers\[0\]\.port: needs a name/],
  ['a target port', port('{number: 80, name: a, protocol: TCP, targetPort: 81}'), /targetPort: has no meaning/],
  ['a server without a port', servers('{hosts: ["*"]}'), /servers\[0\]: needs the field port/],
  [
    'two servers with ports of their own',
    servers(`{port: ${http}, hosts: ["*"]}`, `{port: ${https}, hosts: ["*"], tls: {mode: PASSTHROUGH}}`),
  ],
  [
    'two servers with one port name',
    servers(`{port: ${http}, hosts: ["*"]}`, `{port: ${http}, hosts: [a.b]}`),
    /servers\[1\]\.port\.name: must be unique/,
  ],
  ['a bind address', port(http, ', bind: 127.0.0.1')],
  ['an IPv6 bind address', port(http, ', bind: "::1"')],
  ['a bind name', port(http, ', bind: localhost'), /servers\[0\]\.bind: must be an IP address/],
  ['a Unix socket', port('{number: 0, name: a, protocol: HTTP}', ', bind: "unix:///var/run/a"')],
  ['an abstract Unix socket', port('{number: 0, name: a, protocol: HTTP}', ', bind: "unix://@a"')],
  ['a relative Unix socket', port('{number: 0, name: a, protocol: HTTP}', ', bind: "unix://a"'), /bind: must be unix:/],
  ['a Unix socket with a port', port(http, ', bind: "unix:///a"'), /port\.number: must be 0 for a Unix socket/],
  ['no server', '{selector: {a: b}, servers: []}', /^spec: needs at least one entry in servers/],
  ['an absent list of servers', '{}', /^spec: needs at least one entry in servers/],
  ['an unknown field', '{server: []}', /^spec\.server: is not a known field \(did you mean servers\?\)/],
];

const options: readonly ValidityCase[] = [
  ['HTTPS without tls', port(https), /servers\[0\]: needs tls for the protocol HTTPS/],
  ['TLS without tls', port('{number: 443, name: a, protocol: TLS}'), /needs tls for the protocol TLS/],
  ['a redirect of plain HTTP', port(http, ', tls: {httpsRedirect: true}')],
  ['certificates for plain HTTP', port(http, `, tls: {mode: SIMPLE, ${files}}`), /tls: is not for the protocol HTTP/],
  ['a private key for plain HTTP', port(http, ', tls: {privateKey: /a}'), /tls: is not for the protocol HTTP/],
  ['tls for TCP', port('{number: 1, name: a, protocol: TCP}', ', tls: {httpsRedirect: true}'), /tls: is not for/],
  ['PASSTHROUGH', tls('mode: PASSTHROUGH')],
  ['AUTO_PASSTHROUGH', tls('mode: AUTO_PASSTHROUGH')],
  ['PASSTHROUGH with certificates (a warning of Istio)', tls(`mode: PASSTHROUGH, ${files}`)],
  ['an unknown mode', tls('mode: OPTIONAL'), /tls\.mode: must be one of/],
  ['SIMPLE with files', tls(`mode: SIMPLE, ${files}`)],
  ['SIMPLE with a credential', tls('mode: SIMPLE, credentialName: a')],
  ['SIMPLE with credentials', tls('mode: SIMPLE, credentialNames: [a, b]')],
  ['SIMPLE with nothing', tls('mode: SIMPLE'), /needs serverCertificate for the mode SIMPLE[\s\S]*needs privateKey/],
  ['SIMPLE without a key', tls('mode: SIMPLE, serverCertificate: /a'), /needs privateKey for the mode SIMPLE/],
  ['SIMPLE with pairs', tls(`mode: SIMPLE, tlsCertificates: [{${files}}, {${files}}]`)],
  [
    'a pair without a key',
    tls('mode: SIMPLE, tlsCertificates: [{serverCertificate: /a}]'),
    /tlsCertificates\[0\]: needs privateKey/,
  ],
  ['files beside a credential', tls(`mode: SIMPLE, ${files}, credentialName: a`), /may have only one of/],
  ['one credential and several', tls('mode: SIMPLE, credentialName: a, credentialNames: [b]'), /may have only one of/],
  ['MUTUAL with files', tls(`mode: MUTUAL, ${files}, caCertificates: /c`)],
  ['OPTIONAL_MUTUAL with files', tls(`mode: OPTIONAL_MUTUAL, ${files}, caCertificates: /c`)],
  ['MUTUAL without a CA', tls(`mode: MUTUAL, ${files}`), /needs caCertificates for the mode MUTUAL/],
  ['MUTUAL with a credential', tls('mode: MUTUAL, credentialName: a')],
  ['MUTUAL with a CRL', tls(`mode: MUTUAL, ${files}, caCertificates: /c, caCrl: /d`)],
  ['SIMPLE with a CRL', tls(`mode: SIMPLE, ${files}, caCrl: /d`), /caCrl: cannot be set with the mode SIMPLE/],
  ['ISTIO_MUTUAL', tls('mode: ISTIO_MUTUAL')],
  ['ISTIO_MUTUAL with alternate names', tls('mode: ISTIO_MUTUAL, subjectAltNames: [a]')],
  ...['serverCertificate: a', 'privateKey: a', 'caCertificates: a', 'credentialName: a', 'credentialNames: [a]'].map(
    (text): ValidityCase => [`ISTIO_MUTUAL with ${text}`, tls(`mode: ISTIO_MUTUAL, ${text}`), /ISTIO_MUTUAL/],
  ),
  [
    'versions and ciphers',
    tls('mode: PASSTHROUGH, minProtocolVersion: TLSV1_2, maxProtocolVersion: TLSV1_3, cipherSuites: [ALL]'),
  ],
  ['insecureSkipVerify', tls('mode: PASSTHROUGH, insecureSkipVerify: true')],
  ['an unknown version', tls('mode: PASSTHROUGH, minProtocolVersion: TLSV1_4'), /minProtocolVersion: must be one of/],
];

checkValidity(t, header, [...hosts, ...ports, ...options]);

t.test('Gateway: its name is a DNS label', async (t) => {
  const named = (name: string): readonly string[] =>
    invalidities(`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: ${name}}, spec: ${host('*')}}`);
  t.same(named('public'), []);
  t.match(named('public.gateway'), [/metadata\.name: must be a DNS label/]);
});
