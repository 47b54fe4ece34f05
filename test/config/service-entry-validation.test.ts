import t from 'tap';
import { good, problems, resourceYaml } from './support.ts';
import { invalidities } from './validity.ts';

const http = 'ports: [{number: 80, name: http, protocol: HTTP}]';
const tcp = 'ports: [{number: 80, name: tcp, protocol: TCP}]';
const entry = (spec: string): string => resourceYaml('ServiceEntry', 'a', `{${spec}}`);
const workload = (spec: string): string => resourceYaml('WorkloadEntry', 'a', `{${spec}}`);
const group = (spec: string): string => resourceYaml('WorkloadGroup', 'a', `{${spec}}`);

/** [what, YAML, the message, or nothing when Istio accepts it] */
type Case = readonly [what: string, yaml: string, message?: RegExp];

const hosts: readonly Case[] = [
  ['one label', entry(`hosts: [a], ${http}`)],
  ['capital letters', entry(`hosts: [API.Example.com], ${http}`)],
  ['a trailing dot', entry(`hosts: [a.example.com.], ${http}`)],
  ['*.domain with NONE', entry(`hosts: ["*.example.com"], ${http}`)],
  [
    '*.domain with STATIC',
    entry(`hosts: ["*.example.com"], ${http}, resolution: STATIC, endpoints: [{address: 1.2.3.4}]`),
  ],
  [
    '*.domain with DNS and an endpoint',
    entry(`hosts: ["*.example.com"], ${http}, resolution: DNS, endpoints: [{address: a.b}]`),
  ],
  ['*.domain with DYNAMIC_DNS', entry(`hosts: ["*.example.com"], ${http}, resolution: DYNAMIC_DNS`)],
  [
    '* with DYNAMIC_DNS',
    entry(`hosts: ["*"], ${http}, resolution: DYNAMIC_DNS`),
    /spec\.hosts\[0\]: must be a host name or \*\.<domain>, got "\*"/,
  ],
  ['*-x with DYNAMIC_DNS', entry(`hosts: ["*-x.b"], ${http}, resolution: DYNAMIC_DNS`)],
  [
    'a host without * with DYNAMIC_DNS',
    entry(`hosts: ["*.b.c", b.c], ${http}, resolution: DYNAMIC_DNS`),
    /spec\.hosts\[1\]: must begin with \*, because resolution is DYNAMIC_DNS, got "b\.c"/,
  ],
  ['a * for a part of a label', entry(`hosts: ["*x.example.com"], ${http}`)],
  ['a * and a dash', entry(`hosts: ["*-x.example.com"], ${http}`)],
  ['*', entry(`hosts: ["*"], ${http}`), /spec\.hosts\[0\]: must be a host name or \*\.<domain>, got "\*"/],
  ['a * in the middle', entry(`hosts: ["a.*.com"], ${http}`), /spec\.hosts\[0\]: must be a host name/],
  ['a * at the end of a label', entry(`hosts: ["a*.com"], ${http}`), /spec\.hosts\[0\]: must be a host name/],
  ['an address', entry(`hosts: [1.1.1.1], ${http}`), /spec\.hosts\[0\]: must be a host name/],
  ['an underscore', entry(`hosts: [a_b.com], ${http}`), /spec\.hosts\[0\]: must be a host name/],
  ['nothing', entry(`hosts: [""], ${http}`), /spec\.hosts\[0\]: must be a host name/],
  ['a port', entry(`hosts: ["a.com:80"], ${http}`), /spec\.hosts\[0\]: must be a host name/],
  ['*.domain with DNS', entry(`hosts: ["*.b.c"], ${http}, resolution: DNS`), /spec\.hosts\[0\]: must be a full name/],
  [
    '*.domain with DNS_ROUND_ROBIN',
    entry(`hosts: ["*.b.c"], ${http}, resolution: DNS_ROUND_ROBIN`),
    /spec\.hosts\[0\]: must be a full name/,
  ],
  [
    '*.domain with DNS and a selector',
    entry(`hosts: ["*.b.c"], ${http}, resolution: DNS, workloadSelector: {labels: {a: b}}`),
    /spec\.hosts\[0\]: must be a full name/,
  ],
];

const addresses: readonly Case[] = [
  ['IPv4 and IPv6', entry(`hosts: [a.b], ${http}, addresses: [1.2.3.4, "001:db8::"]`)],
  ['a range with NONE', entry(`hosts: [a.b], ${http}, addresses: [1.2.3.4/16]`)],
  ['a range with STATIC', entry(`hosts: [a.b], ${http}, addresses: [1.2.3.4/16], resolution: STATIC`)],
  [
    'a range with DNS',
    entry(`hosts: [a.b], ${http}, addresses: [1.2.3.4/16], resolution: DNS`),
    /addresses\[0\]: a range needs/,
  ],
  [
    'a range of no size',
    entry(`hosts: [a.b], ${http}, addresses: [1.2.3.4/99]`),
    /addresses\[0\]: must be an IP address or a range/,
  ],
  [
    'a range with a zone',
    entry(`hosts: [a.b], ${http}, addresses: ["fe80::1%a/64"]`),
    /addresses\[0\]: must be an IP address or a range/,
  ],
  [
    'an address with DYNAMIC_DNS',
    entry(`hosts: ["*.b"], ${http}, addresses: [1.2.3.4], resolution: DYNAMIC_DNS`),
    /spec\.addresses: must be absent when resolution is DYNAMIC_DNS/,
  ],
  ['a name', entry(`hosts: [a.b], ${http}, addresses: [a.b]`), /addresses\[0\]: must be an IP address or a range/],
];

const ports: readonly Case[] = [
  ['none', entry('hosts: [a.b]')],
  ['no protocol', entry('hosts: [a.b], ports: [{number: 80, name: a}]')],
  ...[
    'HTTP',
    'HTTPS',
    'GRPC',
    'HTTP2',
    'MONGO',
    'TCP',
    'TLS',
    'GRPC-WEB',
    'HTTP_PROXY',
    'REDIS',
    'MYSQL',
    'UDP',
    'http',
  ].map(
    (protocol): Case => [
      `protocol ${protocol}`,
      entry(`hosts: [a.b], ports: [{number: 80, name: a, protocol: ${protocol}}]`),
    ],
  ),
  ...['HTTP', 'http2', 'GRPC', 'TLS'].map(
    (protocol): Case => [
      `protocol ${protocol} with DYNAMIC_DNS`,
      entry(`hosts: ["*.b"], resolution: DYNAMIC_DNS, ports: [{number: 80, name: a, protocol: ${protocol}}]`),
    ],
  ),
  ...['HTTPS', 'TCP', 'GRPC-WEB', '""'].map(
    (protocol): Case => [
      `protocol ${protocol} with DYNAMIC_DNS`,
      entry(`hosts: ["*.b"], resolution: DYNAMIC_DNS, ports: [{number: 80, name: a, protocol: ${protocol}}]`),
      /ports\[0\]\.protocol: must be HTTP, HTTP2, GRPC or TLS/,
    ],
  ),
  [
    'protocol HBONE',
    entry('hosts: [a.b], ports: [{number: 80, name: a, protocol: HBONE}]'),
    /protocol: must be one of HTTP, /,
  ],
  [
    'an unknown protocol',
    entry('hosts: [a.b], ports: [{number: 80, name: a, protocol: SCTP}]'),
    /protocol: must be one of HTTP, /,
  ],
  ['no name', entry('hosts: [a.b], ports: [{number: 80}]'), /ports\[0\]: needs the field name/],
  [
    'an empty name',
    entry('hosts: [a.b], ports: [{number: 80, name: ""}]'),
    /ports\[0\]\.name: must be the name of a port/,
  ],
  [
    'a name with a dot',
    entry('hosts: [a.b], ports: [{number: 80, name: a.b}]'),
    /ports\[0\]\.name: must be the name of a port/,
  ],
  [
    'a name of 64 letters',
    entry(`hosts: [a.b], ports: [{number: 80, name: ${'a'.repeat(64)}}]`),
    /ports\[0\]\.name: must be/,
  ],
  ['no number', entry('hosts: [a.b], ports: [{name: a}]'), /ports\[0\]: needs the field number/],
  ['number 0', entry('hosts: [a.b], ports: [{number: 0, name: a}]'), /number: must be an integer from 1 to 65535/],
  [
    'number 65536',
    entry('hosts: [a.b], ports: [{number: 65536, name: a}]'),
    /number: must be an integer from 1 to 65535/,
  ],
  [
    'targetPort 65536',
    entry('hosts: [a.b], ports: [{number: 1, name: a, targetPort: 65536}]'),
    /targetPort: must be an integer/,
  ],
  ['targetPort with NONE', entry('hosts: [a.b], ports: [{number: 1, name: a, targetPort: 2}]')],
  ['several hosts with TCP and NONE', entry(`hosts: [a.b, b.c], ${tcp}`)],
  ['several hosts with HTTP and DNS', entry(`hosts: [a.b, b.c], ${http}, resolution: DNS`)],
  [
    'several hosts with TLS and DNS',
    entry('hosts: [a.b, b.c], resolution: DNS, ports: [{number: 443, name: a, protocol: TLS}]'),
  ],
  [
    'several hosts with TCP and DNS',
    entry(`hosts: [a.b, b.c], ${tcp}, resolution: DNS`),
    /ports\[0\]\.protocol: must be HTTP or TLS/,
  ],
  [
    'several hosts with TCP and STATIC',
    entry(`hosts: [a.b, b.c], ${tcp}, resolution: STATIC, endpoints: [{address: 1.2.3.4}]`),
    /ports\[0\]\.protocol: must be HTTP or TLS, because there are several hosts and resolution is STATIC, got "TCP"/,
  ],
  [
    'several hosts without a protocol and DNS',
    entry('hosts: [a.b, b.c], resolution: DNS, ports: [{number: 80, name: a}]'),
    /ports\[0\]\.protocol: must be HTTP or TLS/,
  ],
];

const endpoint = (resolution: string, spec: string, more = http): string =>
  entry(`hosts: [a.b], ${more}, resolution: ${resolution}, endpoints: [{${spec}}]`);
const endpoints: readonly Case[] = [
  ['an address with STATIC', endpoint('STATIC', 'address: 1.2.3.4, ports: {http: 8080}, labels: {a: b}, weight: 0')],
  ['another network without an address', endpoint('STATIC', 'network: n')],
  ['a socket', endpoint('STATIC', 'address: "unix:///a/b"')],
  ['an abstract socket', endpoint('STATIC', 'address: "unix://@a"')],
  ['a name with DNS', endpoint('DNS', 'address: a.example.com')],
  ['an address with DNS', endpoint('DNS', 'address: 1.2.3.4')],
  ['one name with DNS_ROUND_ROBIN', endpoint('DNS_ROUND_ROBIN', 'address: a.example.com')],
  [
    'an empty list with NONE',
    entry(`hosts: [a.b], ${http}, endpoints: []`),
    /spec\.endpoints: must be absent when resolution is NONE/,
  ],
  [
    'one with DYNAMIC_DNS',
    endpoint('DYNAMIC_DNS', 'address: a.example.com'),
    /spec\.endpoints: must be absent when resolution is DYNAMIC_DNS/,
  ],
  [
    'an abstract socket that looks like a folder',
    endpoint('STATIC', 'address: "unix://@a/"'),
    /address: must be an absolute path of a socket/,
  ],
  [
    'a socket with an empty map of ports',
    endpoint('STATIC', 'address: "unix:///a", ports: {}'),
    /ports: must be absent where the address is a Unix socket/,
  ],
  [
    'a socket that is a folder',
    endpoint('STATIC', 'address: "unix:///a/"'),
    /address: must be an absolute path of a socket/,
  ],
  [
    'a socket with a relative path',
    endpoint('STATIC', 'address: "unix://a"'),
    /address: must be an absolute path of a socket/,
  ],
  ['a socket with ports', endpoint('STATIC', 'address: "unix:///a", ports: {http: 80}'), /ports: must be absent/],
  [
    'a socket of two ports',
    endpoint('STATIC', 'address: "unix:///a"', 'ports: [{number: 80, name: a}, {number: 81, name: b}]'),
    /address: a Unix socket needs exactly one port, got 2/,
  ],
  ['a socket with DNS', endpoint('DNS', 'address: "unix:///a"'), /address: a Unix socket needs resolution STATIC/],
  ['no address', endpoint('STATIC', 'weight: 1'), /endpoints\[0\]: needs the field address/],
  ['no address with DNS', endpoint('DNS', 'network: n'), /endpoints\[0\]: needs the field address/],
  [
    'a name with STATIC',
    endpoint('STATIC', 'address: a.b'),
    /address: must be an IP address, because resolution is STATIC/,
  ],
  ['a name that is none', endpoint('DNS', 'address: a_b'), /address: must be an IP address or a DNS name/],
  ['a wildcard', endpoint('DNS', 'address: "*.a"'), /address: must be an IP address or a DNS name/],
  ['an unknown port', endpoint('STATIC', 'address: 1.2.3.4, ports: {b: 1}'), /ports\.b: is not the name of a port/],
  ['port 0', endpoint('STATIC', 'address: 1.2.3.4, ports: {http: 0}'), /ports\.http: must be an integer from 1/],
  [
    'a label that is none',
    endpoint('STATIC', 'address: 1.2.3.4, labels: {"a b": c}'),
    /labels\["a b"\]: must be the name of a label/,
  ],
  [
    'a label value that is none',
    endpoint('STATIC', 'address: 1.2.3.4, labels: {a: "b c"}'),
    /labels\.a: must be the value of a label/,
  ],
  ['with NONE', endpoint('NONE', 'address: 1.2.3.4'), /endpoints: must be absent when resolution is NONE/],
  [
    'two with DNS_ROUND_ROBIN',
    endpoint('DNS_ROUND_ROBIN', 'address: a.b}, {address: b.c'),
    /endpoints: may have only one entry/,
  ],
];

const exportTo: readonly Case[] = [
  ...['[]', '["."]', '["*"]', '["~"]', '[a, b]', '[., a]'].map(
    (to): Case => [to, entry(`hosts: [a.b], ${http}, exportTo: ${to}`)],
  ),
  [
    '* and another',
    entry(`hosts: [a.b], ${http}, exportTo: ["*", a]`),
    /spec\.exportTo: cannot have \* or ~ beside others/,
  ],
  [
    '~ and another',
    entry(`hosts: [a.b], ${http}, exportTo: [a, "~"]`),
    /spec\.exportTo: cannot have \* or ~ beside others/,
  ],
  ['one twice', entry(`hosts: [a.b], ${http}, exportTo: [a, a]`), /exportTo\[1\]: is there twice/],
  [
    '. and its own name',
    entry(`hosts: [a.b], ${http}, exportTo: [., shop]`),
    /exportTo\[1\]: is there twice, got "shop"/,
  ],
  ['no namespace', entry(`hosts: [a.b], ${http}, exportTo: [a.b]`), /exportTo\[0\]: must be \., \*, or the name/],
];

const others: readonly Case[] = [
  ['a selector and NONE', entry(`hosts: [a.b], ${http}, workloadSelector: {labels: {a: b}}`)],
  [
    'a wildcard in a selector',
    entry(`hosts: [a.b], ${http}, workloadSelector: {labels: {a: "*"}}`),
    /labels\.a: must be a label value/,
  ],
  ['identities of any kind', entry(`hosts: [a.b], ${http}, location: MESH_INTERNAL, subjectAltNames: [sa]`)],
  [
    'an unknown resolution',
    entry(`hosts: [a.b], ${http}, resolution: LOGICAL`),
    /resolution: must be one of NONE, STATIC/,
  ],
  ['an unknown location', entry(`hosts: [a.b], ${http}, location: HERE`), /location: must be one of MESH_EXTERNAL/],
];

const workloads: readonly Case[] = [
  ['an address', workload('address: 1.2.3.4')],
  ['a name', workload('address: a.example.com')],
  ['a socket', workload('address: "unix:///a"')],
  ['a network', workload('network: n')],
  ['ports of any name', workload('address: 1.2.3.4, ports: {anything: 80}')],
  ['nothing', workload('weight: 1'), /spec: needs the field address/],
  ['a socket with ports', workload('address: "unix://@a", ports: {http: 80}'), /ports: must be absent/],
  ['a folder', workload('address: "unix:///dir/"'), /address: must be an absolute path of a socket/],
  ['a name with a port', workload('address: "a.b:80"'), /address: must be an IP address or a DNS name, without a port/],
  ['a port that is none', workload('address: 1.1.1.1, ports: {http: 99999}'), /ports\.http: must be an integer/],
  [
    'a port name that is none',
    workload('address: 1.1.1.1, ports: {"@": 80}'),
    /ports\["@"\]: the key must be the name of a port/,
  ],
  [
    'a label that is none',
    workload('address: 1.1.1.1, labels: {"-a": b}'),
    /labels\["-a"\]: must be the name of a label/,
  ],
];

const probe = (spec: string): string => group(`template: {}, probe: {${spec}}`);
const groups: readonly Case[] = [
  ['an empty template', group('template: {}')],
  [
    'everything',
    group(
      'metadata: {labels: {a: b}, annotations: {"any thing": "at all"}}, template: {ports: {http: 80}, serviceAccount: a, network: n, locality: a/b, weight: 2}, probe: {initialDelaySeconds: 1, timeoutSeconds: 1, periodSeconds: 1, successThreshold: 1, failureThreshold: 1, httpGet: {path: /a, port: 80, host: a, scheme: HTTPS, httpHeaders: [{name: a-B-1, value: ""}]}}',
    ),
  ],
  ['a TCP probe', probe('tcpSocket: {port: 80}')],
  ['a command', probe('exec: {command: [ls]}')],
  ['a command of several lines', probe('exec: {command: [sh, -c, "a\\nb"]}')],
  ['annotations of several lines', group('template: {}, metadata: {annotations: {a: "b\\nc"}}')],
  ['any service account', group('template: {serviceAccount: "a@b"}')],
  ['a gRPC probe', probe('grpc: {port: 80}'), /spec\.probe: needs one of httpGet, tcpSocket, exec/],
  [
    'a header without a name',
    probe('httpGet: {port: 80, httpHeaders: [{}]}'),
    /httpHeaders\[0\]: needs the field name/,
  ],
  [
    'a header with an underscore',
    probe('httpGet: {port: 80, httpHeaders: [{name: a_b}]}'),
    /httpHeaders\[0\]\.name: must be letters, digits and -/,
  ],
  [
    'a socket that is a folder',
    group('template: {address: "unix:///a/"}'),
    /template\.address: must be an absolute path of a socket/,
  ],
  [
    'a socket with ports',
    group('template: {address: "unix:///a", ports: {}}'),
    /template\.ports: must be absent where the address is a Unix socket/,
  ],
  ['no template', group('metadata: {}'), /spec: needs the field template/],
  [
    'a label that is none',
    group('template: {}, metadata: {labels: {"": b}}'),
    /metadata\.labels\[""\]: must be the name of a label/,
  ],
  ['a probe of no kind', probe('periodSeconds: 1'), /spec\.probe: needs one of httpGet/],
  ['a probe of two kinds', probe('tcpSocket: {port: 80}, exec: {command: [a]}'), /spec\.probe: may have only one of/],
  ['a negative time', probe('periodSeconds: -1, tcpSocket: {port: 80}'), /periodSeconds: must be an integer from 0/],
  ['a port that is none', probe('tcpSocket: {port: 65536}'), /tcpSocket\.port: must be an integer/],
  ['no port', probe('httpGet: {path: /}'), /httpGet: needs the field port/],
  ['another scheme', probe('httpGet: {port: 80, scheme: FTP}'), /scheme: must be one of/],
  [
    'a header that is none',
    probe('httpGet: {port: 80, httpHeaders: [{name: "**"}]}'),
    /httpHeaders\[0\]\.name: must be letters, digits and -/,
  ],
  ['no command', probe('exec: {command: []}'), /command: must be a list with at least one entry/],
];

const tables: Readonly<Record<string, readonly Case[]>> = {
  'hosts of a ServiceEntry': hosts,
  'addresses of a ServiceEntry': addresses,
  'ports of a ServiceEntry': ports,
  'endpoints of a ServiceEntry': endpoints,
  'exportTo of a ServiceEntry': exportTo,
  'other fields of a ServiceEntry': others,
  'a WorkloadEntry': workloads,
  'a WorkloadGroup': groups,
};

for (const [table, cases] of Object.entries(tables)) {
  t.test(`${table}: what Istio accepts is accepted, and nothing else`, async (t) => {
    for (const [what, yaml, message] of cases) {
      const found = problems(yaml).join('\n');
      if (message === undefined) t.equal(found, '', what);
      else t.match(found, message, what);
    }
  });
}

t.test('what is accepted and yet without effect is in the report', async (t) => {
  const remarks = (yaml: string): string => good(yaml).remarks().join('\n');
  t.match(remarks(entry(`hosts: ["*x.com"], ${http}`)), /hosts\[0\] enforced \(warning\): Istio advises against/);
  t.match(
    remarks(entry(`hosts: [a.b], ${http}, workloadSelector: {labels: {a: b}}`)),
    /workloadSelector ignored \(warning\): with resolution NONE calls go to the address that the caller named/,
  );
  const dynamic = remarks(entry(`hosts: ["*.b"], ${http}, resolution: DYNAMIC_DNS, location: MESH_INTERNAL`));
  t.match(dynamic, /location ignored \(warning\): DYNAMIC_DNS is for MESH_EXTERNAL/);
  t.match(
    remarks(entry(`hosts: [a.b], ${http}, location: MESH_INTERNAL, subjectAltNames: [sa]`)),
    /subjectAltNames\[0\] enforced \(warning\): is not a SPIFFE ID/,
  );
  const template = remarks(group('template: {address: 1.2.3.4, labels: {a: b}}'));
  t.match(template, /^WorkloadGroup ignored \(warning\): checked/);
  t.match(template, /template\.address ignored \(warning\): Istio advises against it/);
  t.match(template, /template\.labels ignored \(warning\): Istio advises against it/);
});

t.test('what Istio accepts and inmesh does not carry out is valid, and refused', async (t) => {
  const cases: readonly Case[] = [
    ['a service account', workload('address: 1.2.3.4, serviceAccount: "a@b"'), /serviceAccount: is refused/],
    [
      'an address with a zone',
      workload('address: "fe80::1%eth0"'),
      /spec\.address: is refused: an address with a zone/,
    ],
    ['an endpoint with a zone', endpoint('STATIC', 'address: "fe80::1%eth0"'), /endpoints\[0\]\.address: is refused/],
    ['a zone', entry(`hosts: [a.b], ${http}, addresses: ["fe80::1%eth0"]`), /spec\.addresses\[0\]: is refused/],
    ['a line break', workload('address: 1.2.3.4, network: "a\\nb"'), /spec\.network: must not have control characters/],
    ['a field without a value', workload('address: 1.2.3.4, labels: null'), /spec\.labels: must be a map/],
  ];
  for (const [what, yaml, message = /./] of cases) {
    t.same(invalidities(yaml), [], what);
    t.match(problems(yaml).join('\n'), message, what);
  }
});
