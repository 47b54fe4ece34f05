import t from 'tap';
import { good, problems, resourceYaml, serviceYaml } from './support.ts';

const policy = (text: string): string => `{host: reviews, trafficPolicy: {${text}}}`;
const balancer = (text: string): string => policy(`loadBalancer: {${text}}`);
const hash = (text: string): string => balancer(`consistentHash: {${text}}`);
const locality = (text: string): string => policy(`outlierDetection: {}, loadBalancer: {localityLbSetting: {${text}}}`);
const distribute = (text: string): string => locality(`distribute: [{from: a, to: {${text}}}]`);
const tls = (text: string): string => policy(`tls: {${text}}`);
const mutual = 'mode: MUTUAL, clientCertificate: /c, privateKey: /k';

/** What Istio's webhook refuses. */
const refused: readonly (readonly [what: string, spec: string, message: RegExp])[] = [
  ['a host that is none', '{host: "a b"}', /spec\.host: must be a host name, \* or \*\.<domain>, got "a b"/],
  ['an empty host', '{host: ""}', /spec\.host: must be a host name/],
  ['no host', '{subsets: []}', /needs the field host/],
  ['an address as host', '{host: 10.0.0.1}', /spec\.host: must be a host name/],
  ['a host with a wildcard in the middle', '{host: a.*.com}', /spec\.host: must be a host name/],
  ['a subset without a name', '{host: a, subsets: [{name: ""}]}', /spec\.subsets\[0\]\.name: must be a name of/],
  ['a subset with a dot in its name', '{host: a, subsets: [{name: v1.2}]}', /spec\.subsets\[0\]\.name: must be a name/],
  [
    'a subset with a name that is too long',
    `{host: a, subsets: [{name: ${'a'.repeat(64)}}]}`,
    /must be a name of at most 63/,
  ],
  [
    'a subset twice',
    '{host: a, subsets: [{name: v1}, {name: v1}]}',
    /spec\.subsets\[1\]\.name: is there twice, got "v1"/,
  ],
  [
    'a label with a name that is none',
    '{host: a, subsets: [{name: v1, labels: {"a b": c}}]}',
    /labels\.?.*must be the name of a label/,
  ],
  [
    'a label with a value that is none',
    '{host: a, subsets: [{name: v1, labels: {a: "b c"}}]}',
    /must be the value of a label, got "b c"/,
  ],
  ['a policy without any part', policy(''), /spec\.trafficPolicy: must have at least one field/],
  [
    'a policy of a subset without any part',
    '{host: a, subsets: [{name: v1, trafficPolicy: {}}]}',
    /spec\.subsets\[0\]\.trafficPolicy: must have/,
  ],
  [
    'settings of a port without any part',
    policy('portLevelSettings: [{port: {number: 80}}]'),
    /portLevelSettings\[0\]: must have at least one field beside port/,
  ],
  [
    'settings without a port',
    policy('portLevelSettings: [{tls: {mode: DISABLE}}]'),
    /portLevelSettings\[0\]: needs the field port/,
  ],
  [
    'a mistake in the settings of a port',
    policy('portLevelSettings: [{port: {number: 80}, tls: {mode: MUTUAL}}]'),
    /portLevelSettings\[0\]\.tls: needs the field clientCertificate/,
  ],
  ['exportTo nobody', '{host: a, exportTo: ["~"]}', /spec\.exportTo\[0\]: may be ~ in a ServiceEntry only/],
  [
    'exportTo of something else',
    '{host: a, exportTo: ["a b"]}',
    /spec\.exportTo\[0\]: must be \., \*, or the name of a namespace/,
  ],
  ['exportTo twice', '{host: a, exportTo: [b, b]}', /spec\.exportTo\[1\]: is there twice/],
  [
    'exportTo the own namespace by both names',
    '{host: a, exportTo: [".", shop]}',
    /spec\.exportTo\[1\]: is there twice/,
  ],
  ['exportTo all and more', '{host: a, exportTo: ["*", b]}', /spec\.exportTo: cannot have \* or ~ beside others/],
  [
    'a selector and exportTo all',
    '{host: a, exportTo: ["*"], workloadSelector: {matchLabels: {a: b}}}',
    /spec\.exportTo: must be \. alone in a rule with a workloadSelector/,
  ],
  [
    'a selector and exportTo more',
    '{host: a, exportTo: [".", b], workloadSelector: {matchLabels: {a: b}}}',
    /spec\.exportTo: must be \. alone in a rule with a workloadSelector/,
  ],
  [
    'a selector with a wildcard',
    '{host: a, workloadSelector: {matchLabels: {a: "b*"}}}',
    /matchLabels\.a: must be a label value/,
  ],
  [
    'a balancer twice',
    balancer('simple: RANDOM, consistentHash: {}'),
    /loadBalancer: may have only one of simple and consistentHash/,
  ],
  ['an unknown balancer', balancer('simple: FASTEST'), /simple: must be one of UNSPECIFIED, LEAST_CONN/],
  [
    'two keys to hash',
    hash('httpHeaderName: a, useSourceIp: false'),
    /consistentHash: may have only one of httpHeaderName and useSourceIp/,
  ],
  ['a cookie without a name', hash('httpCookie: {ttl: 1s}'), /httpCookie: needs the field name/],
  ['a cookie with an empty name', hash('httpCookie: {name: ""}'), /httpCookie\.name: must not be empty/],
  [
    'two algorithms',
    hash('useSourceIp: true, ringHash: {}, maglev: {tableSize: 7}'),
    /may have only one of ringHash and maglev/,
  ],
  [
    'the old ring size and the new one',
    hash('minimumRingSize: 1, ringHash: {}'),
    /minimumRingSize: must be absent where there is ringHash or maglev/,
  ],
  [
    'a ring that Envoy refuses',
    hash('ringHash: {minimumRingSize: 8388609}'),
    /ringHash\.minimumRingSize: must be at most 8388608, got 8388609/,
  ],
  [
    'a ring of more points than JavaScript counts',
    hash('ringHash: {minimumRingSize: 9007199254740993}'),
    /minimumRingSize: must be at most 8388608/,
  ],
  ['an old ring size that Envoy refuses', hash('minimumRingSize: 8388609'), /minimumRingSize: must be at most/],
  ['maglev without a size', hash('maglev: {}'), /maglev\.tableSize: must be a prime number below 5000011, got 0/],
  ['maglev with an even size', hash('maglev: {tableSize: 1000}'), /must be a prime number/],
  ['maglev with an odd size', hash('maglev: {tableSize: 10005}'), /must be a prime number/],
  [
    'maglev with a size that is too large',
    hash('maglev: {tableSize: 5000011}'),
    /must be a prime number below 5000011/,
  ],
  [
    'distribute and failover',
    locality('distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]'),
    /may have only one of distribute and failover/,
  ],
  [
    'failover and a topology label',
    locality('failover: [{from: a, to: b}], failoverPriority: [x, topology.kubernetes.io/zone]'),
    /failoverPriority\[1\]: must not be a topology label/,
  ],
  [
    'weights that are not 100',
    distribute('b: 50, c: 49'),
    /distribute\[0\]\.to: must have weights with a sum of 100, got 99/,
  ],
  ['a weight of 0', distribute('b: 0, c: 100'), /distribute\[0\]\.to\.b: must be a weight from 1 to 100, got 0/],
  ['no weights', locality('distribute: [{from: a}]'), /must have weights with a sum of 100, got 0/],
  ['a wildcard in the middle of a locality', distribute('"*/b": 100'), /may have one \* only, at its end/],
  ['two wildcards', distribute('"a/*/*": 100'), /may have one \* only/],
  ['an empty zone', distribute('"a//b": 100'), /must not have an empty region, zone or subzone/],
  ['no origin', locality('distribute: [{to: {a: 100}}]'), /distribute\[0\]\.from: must not have an empty region/],
  [
    'an origin twice',
    locality('distribute: [{from: a, to: {b: 100}}, {from: a, to: {b: 100}}]'),
    /distribute\[1\]\.from: overlaps/,
  ],
  [
    'an origin in a wider one',
    locality('distribute: [{from: "a/*", to: {b: 100}}, {from: a/b/c, to: {b: 100}}]'),
    /distribute\[1\]\.from: overlaps/,
  ],
  [
    'a wider origin after one in it',
    locality('distribute: [{from: a/b, to: {b: 100}}, {from: a, to: {b: 100}}]'),
    /distribute\[1\]\.from: overlaps/,
  ],
  [
    'an origin after *',
    locality('distribute: [{from: "*", to: {b: 100}}, {from: a, to: {b: 100}}]'),
    /distribute\[1\]\.from: overlaps/,
  ],
  [
    'a failover to where it came from',
    locality('failover: [{from: a, to: a}]'),
    /failover\[0\]: must lead from one region to another/,
  ],
  ['a failover of a zone', locality('failover: [{from: a/b, to: c}]'), /failover\[0\]\.from: must be a region/],
  ['a failover to a wildcard', locality('failover: [{from: a, to: "c*"}]'), /failover\[0\]\.to: must be a region/],
  ['a warmup without a duration', balancer('warmup: {}'), /warmup: needs the field duration/],
  ['a warmup of nothing', balancer('warmup: {duration: 0s}'), /warmup\.duration: must be a duration/],
  [
    'a warmup from above 100 %',
    balancer('warmup: {duration: 1s, minimumPercent: 101}'),
    /minimumPercent: must be a number from 0 to 100/,
  ],
  [
    'a warmup with an aggression of 0',
    balancer('warmup: {duration: 1s, aggression: 0}'),
    /aggression: must be a number above 0/,
  ],
  ['an empty connectionPool', policy('connectionPool: {}'), /connectionPool: must have at least one of tcp and http/],
  ['a negative limit', policy('connectionPool: {http: {maxRetries: -1}}'), /maxRetries: must be an integer from 0/],
  [
    'a connectTimeout below a millisecond',
    policy('connectionPool: {tcp: {connectTimeout: 500us}}'),
    /connectTimeout: must be a duration/,
  ],
  [
    'a connectTimeout of 0',
    policy('connectionPool: {tcp: {connectTimeout: 0s}}'),
    /connectTimeout: must be a duration/,
  ],
  [
    'a keepalive time of 0',
    policy('connectionPool: {tcp: {tcpKeepalive: {time: 0s}}}'),
    /tcpKeepalive\.time: must be a duration/,
  ],
  [
    'an idle timeout of 0 for http',
    policy('connectionPool: {http: {idleTimeout: 0s}}'),
    /http\.idleTimeout: must be a duration/,
  ],
  [
    'two minds about HTTP/2',
    policy('connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}'),
    /useClientProtocol: must not be true when h2UpgradePolicy is UPGRADE/,
  ],
  [
    'an ejection of more than 100 %',
    policy('outlierDetection: {maxEjectionPercent: 101}'),
    /maxEjectionPercent: must be an integer from 0 to 100/,
  ],
  [
    'a health of less than 0 %',
    policy('outlierDetection: {minHealthPercent: -1}'),
    /minHealthPercent: must be an integer from 0 to 100/,
  ],
  [
    'local failures that are not counted apart',
    policy('outlierDetection: {consecutiveLocalOriginFailures: 1}'),
    /needs splitExternalLocalOriginErrors: true, got 1/,
  ],
  [
    'HTTP/2 pings without a timeout',
    policy('connectionPool: {http: {http2KeepAlive: {interval: 1s}}}'),
    /http2KeepAlive: needs the field timeout/,
  ],
  [
    'HTTP/2 pings without an interval',
    policy('connectionPool: {http: {http2KeepAlive: {timeout: 1s}}}'),
    /http2KeepAlive: needs the field interval/,
  ],
  [
    'an idle timeout with a part of a millisecond',
    policy('connectionPool: {tcp: {idleTimeout: 1.5ms}}'),
    /tcp\.idleTimeout: must be a duration/,
  ],
  [
    'a duration that is too long for Go',
    policy('connectionPool: {tcp: {connectTimeout: 2562048h}}'),
    /connectTimeout: must be a duration/,
  ],
  ['a warm-up of 0', balancer('warmupDurationSecs: 0s'), /warmupDurationSecs: must be a duration/],
  ['a budget above 100 %', policy('retryBudget: {percent: 101}'), /percent: must be a number from 0 to 100/],
  [
    'two kinds of localities',
    balancer('localityLbSetting: {}, zoneAwareLbSetting: {}'),
    /may have only one of localityLbSetting and zoneAwareLbSetting/,
  ],
  [
    'zones with a topology label',
    balancer('zoneAwareLbSetting: {failoverPriority: [a, topology.kubernetes.io/zone]}'),
    /zoneAwareLbSetting\.failoverPriority\[1\]: must not be a topology label/,
  ],
  [
    'zones that fail over to where they are',
    balancer('zoneAwareLbSetting: {failover: [{from: a, to: a}]}'),
    /zoneAwareLbSetting\.failover\[0\]: must lead from one region to another/,
  ],
  [
    'zones that fail over to a zone',
    balancer('zoneAwareLbSetting: {failover: [{from: a, to: b/c}]}'),
    /failover\[0\]\.to: must be a region/,
  ],
  [
    'zones of no endpoint',
    balancer('zoneAwareLbSetting: {minClusterSize: 0}'),
    /minClusterSize: must be an integer from 1/,
  ],
  [
    'an attribute of a cookie twice',
    hash('httpCookie: {name: a, attributes: [{name: b}, {name: b}]}'),
    /attributes\[1\]\.name: is there twice, got "b"/,
  ],
  [
    'an attribute of a cookie without a name',
    hash('httpCookie: {name: a, attributes: [{name: ""}]}'),
    /attributes\[0\]\.name: must not be empty/,
  ],
  ...['configmap://a', 'configmap://other/a', 'configmap://shop/', 'configmap:///a'].map(
    (name) =>
      [
        `roots of ${name}`,
        tls(`credentialName: "${name}"`),
        /credentialName: must be configmap:\/\/shop\/<name>/,
      ] as const,
  ),
  ['an interval of 0', policy('outlierDetection: {interval: 0s}'), /interval: must be a duration/],
  [
    'an error code that is none',
    policy('outlierDetection: {outlierDetectionHttpErrorCodes: [99]}'),
    /must be an integer from 100 to 599/,
  ],
  [
    'MUTUAL without a certificate',
    tls('mode: MUTUAL, privateKey: /k'),
    /tls: needs the field clientCertificate, because mode is MUTUAL/,
  ],
  ['MUTUAL without a key', tls('mode: MUTUAL, clientCertificate: /c'), /tls: needs the field privateKey/],
  [
    'a secret and a certificate',
    tls('mode: MUTUAL, credentialName: a, clientCertificate: /c'),
    /clientCertificate: must be absent when there is a credentialName/,
  ],
  [
    'a secret and a revocation list',
    tls('mode: SIMPLE, credentialName: a, caCrl: /c'),
    /caCrl: must be absent when there is a credentialName/,
  ],
  [
    'no verification and roots',
    tls('mode: SIMPLE, insecureSkipVerify: true, caCertificates: /r'),
    /caCertificates: must be absent when insecureSkipVerify is true/,
  ],
  [
    'no verification and a secret',
    tls('mode: SIMPLE, insecureSkipVerify: true, credentialName: a'),
    /credentialName: must be absent when insecureSkipVerify is true/,
  ],
  [
    'no verification and names',
    tls(`${mutual}, insecureSkipVerify: true, subjectAltNames: [a]`),
    /subjectAltNames: must be absent when insecureSkipVerify is true/,
  ],
  [
    'an unknown mode',
    tls('mode: MUTAL'),
    /mode: must be one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL \(did you mean MUTUAL\?\)/,
  ],
  [
    'a tunnel and the PROXY protocol',
    policy('tunnel: {targetHost: a, targetPort: 1}, proxyProtocol: {}'),
    /may have only one of tunnel and proxyProtocol/,
  ],
  [
    'a tunnel of an unknown kind',
    policy('tunnel: {protocol: GET, targetHost: a, targetPort: 1}'),
    /tunnel\.protocol: must be CONNECT or POST/,
  ],
  [
    'a tunnel to nowhere',
    policy('tunnel: {targetHost: "", targetPort: 1}'),
    /tunnel\.targetHost: must be a host name or an IP address/,
  ],
  ['a tunnel to no port', policy('tunnel: {targetHost: a, targetPort: 0}'), /tunnel\.targetPort: must be a port/],
];

for (const [what, spec, message] of refused) {
  t.test(`${what} is refused`, async (t) => {
    t.match(problems(resourceYaml('DestinationRule', 'r', spec)).join('\n'), message);
  });
}

/** What looks odd, and Istio accepts. */
const accepted: readonly (readonly [what: string, spec: string, remark?: RegExp])[] = [
  ['the lone * as host', '{host: "*"}'],
  ['a wildcard in the first label', '{host: "*-v1.example.com"}'],
  ['a host with a dot at its end', '{host: example.com.}'],
  ['nothing but a host', '{host: reviews}'],
  ['a subset in upper case, without labels', '{host: reviews, subsets: [{name: V1}]}'],
  ['a subset with an empty label value', '{host: reviews, subsets: [{name: v1, labels: {example.com/a_b.c: ""}}]}'],
  ['a policy with nothing but retryBudget', policy('retryBudget: {}')],
  ['a budget without a percentage', policy('retryBudget: {percent: null}')],
  ['a budget for less than no time', policy('retryBudget: {budgetInterval: -1s}')],
  ['a warm-up with a part of a millisecond', balancer('warmupDurationSecs: 1.5ms')],
  ['a cookie with a part of a millisecond', hash('httpCookie: {name: a, ttl: 1.5ms}')],
  ['a cookie with attributes', hash('httpCookie: {name: a, ttl: -1s, attributes: [{name: b}, {name: c}]}')],
  ['an idle timeout below a millisecond', policy('connectionPool: {tcp: {idleTimeout: 999us}}')],
  [
    'a warm-up with a balancer that has none',
    balancer('simple: RANDOM, warmup: {duration: 1s}'),
    /warmup ignored \(warning\): RANDOM has no warm-up/,
  ],
  [
    'a warm-up with PASSTHROUGH',
    balancer('simple: PASSTHROUGH, warmupDurationSecs: 1s'),
    /warmupDurationSecs ignored \(warning\): PASSTHROUGH has no warm-up/,
  ],
  [
    'a warm-up with a consistent hash',
    balancer('consistentHash: {useSourceIp: true}, warmup: {duration: 1s}'),
    /warmup ignored \(warning\): a consistent hash has no warm-up/,
  ],
  ['the largest ring', hash('ringHash: {minimumRingSize: 8388608}')],
  ['HTTP/2 pings', policy('connectionPool: {http: {http2KeepAlive: {interval: 1s, timeout: 1s}}}')],
  ['roots of a map of its own namespace', tls('credentialName: "configmap://shop/a"')],
  [
    'settings for a port twice',
    policy(
      'portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}, {port: {number: 80}, tls: {mode: DISABLE}}]',
    ),
    /portLevelSettings\[1\] ignored \(warning\): there are settings for port 80 before/,
  ],
  [
    'settings for a port that no service has',
    policy('portLevelSettings: [{port: {}, tls: {mode: DISABLE}}]'),
    /port ignored \(warning\): no service has a port 0/,
  ],
  [
    'a selector without labels',
    '{host: reviews, workloadSelector: {}}',
    /workloadSelector enforced \(warning\): selects every workload/,
  ],
  ['a selector and its own namespace', '{host: reviews, exportTo: ["."], workloadSelector: {matchLabels: {a: b}}}'],
  ['exportTo several', '{host: reviews, exportTo: [".", a, b]}'],
  ['a hash without a key', hash('')],
  [
    'the old ring size',
    hash('useSourceIp: true, minimumRingSize: 10'),
    /minimumRingSize enforced \(warning\): is deprecated/,
  ],
  ['maglev with the largest size', hash('maglev: {tableSize: 4999999}')],
  [
    'a narrower origin before a wildcard',
    locality('distribute: [{from: a/b, to: {b: 100}}, {from: "a/*", to: {b: 100}}, {from: "*", to: {b: 100}}]'),
  ],
  ['a subzone with a slash', distribute('a/b/c/d: 100')],
  ['failover and a label', locality('failover: [{from: a, to: b}], failoverPriority: [version]')],
  [
    'failover without outlier detection',
    balancer('localityLbSetting: {failover: [{from: a, to: b}]}'),
    /failover ignored \(warning\): has no effect without outlierDetection/,
  ],
  [
    'failoverPriority without outlier detection',
    balancer('localityLbSetting: {failoverPriority: [a]}'),
    /failoverPriority ignored \(warning\)/,
  ],
  ['an idle timeout of 0 for tcp', policy('connectionPool: {tcp: {idleTimeout: 0s}}')],
  [
    'deprecated consecutiveErrors',
    policy('outlierDetection: {consecutiveErrors: 7}'),
    /consecutiveErrors ignored: deprecated/,
  ],
  ['local failures of 0', policy('outlierDetection: {consecutiveLocalOriginFailures: 0}')],
  ['TLS without a mode', tls('sni: a'), /tls enforced \(warning\): has no mode, which means DISABLE/],
  [
    'DISABLE with certificates',
    tls('mode: DISABLE, caCertificates: /r'),
    /caCertificates ignored \(warning\): connections are plaintext/,
  ],
  [
    'ISTIO_MUTUAL with certificates',
    tls('mode: ISTIO_MUTUAL, clientCertificate: /c'),
    /clientCertificate ignored \(warning\): ISTIO_MUTUAL takes certificates from the identity/,
  ],
  [
    'ISTIO_MUTUAL without verification',
    tls('mode: ISTIO_MUTUAL, insecureSkipVerify: true'),
    /insecureSkipVerify ignored \(warning\).* always verifies/,
  ],
  [
    'ISTIO_MUTUAL with a name that nobody has',
    tls('mode: ISTIO_MUTUAL, subjectAltNames: [a.b]'),
    /subjectAltNames\[0\] enforced \(warning\): is no SPIFFE ID/,
  ],
  [
    'SIMPLE with a certificate',
    tls('mode: SIMPLE, clientCertificate: /c, privateKey: /k'),
    /clientCertificate ignored \(warning\): with SIMPLE no certificate is shown/,
  ],
  [
    'a secret',
    tls('mode: SIMPLE, credentialName: a'),
    /credentialName approximated \(warning\): there are no Kubernetes secrets here/,
  ],
  [
    'no verification',
    tls('mode: SIMPLE, insecureSkipVerify: true'),
    /insecureSkipVerify enforced \(warning\): any server can pretend/,
  ],
  ['no verification and a secret with MUTUAL', tls('mode: MUTUAL, insecureSkipVerify: true, credentialName: a')],
  ['no verification and an empty list of names', tls('mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: []')],
];

for (const [what, spec, remark] of accepted) {
  t.test(`${what} is accepted`, async (t) => {
    const remarks = good(serviceYaml() + resourceYaml('DestinationRule', 'r', spec))
      .remarks()
      .join('\n');
    if (remark !== undefined) t.match(remarks, remark);
    t.pass();
  });
}
