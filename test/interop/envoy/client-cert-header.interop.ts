// x-forwarded-client-cert as our servers write it, held against what an Envoy writes for the same request.
import { generateKeyPairSync } from 'node:crypto';
import t, { type Test } from 'tap';
import type { Credentials } from '../../../src/identity/source.ts';
import { makeAuthority, type TestCertificateOptions } from '../../support/certificates.ts';
import { rawExchange } from '../../support/inbound.ts';
import { withEnvoy } from './binary.ts';
import { fixedSecrets } from './bootstrap.ts';
import { type Echo, echo, echoServer } from './echo.ts';
import { type ForwardClientCert, inboundSidecar } from './inbound-sidecar.ts';
import { meshProcess } from './mesh-process.ts';
import { startEnvoy } from './run.ts';

const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const authority = makeAuthority();
const web = authority.issue(webId);
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');

const header = 'x-forwarded-client-cert';
/** What the hop before said of somebody whom this process has never seen. */
const earlier = 'By=spiffe://a.test/b;Hash=0f;Subject="CN=a\\,b";URI=spiffe://a.test/c';
const istio = { subject: true, uri: true, dns: true };

/** Sends a request with these headers, over mTLS or in plaintext; what the application saw, `nothing` without a header. */
type Ask = (credentials: Credentials | undefined, headers?: readonly string[]) => Promise<string>;

const askAt =
  (port: number): Ask =>
  async (credentials, headers = []) => {
    const lines = ['GET / HTTP/1.1', 'Host: reviews', ...headers, '', ''].join('\r\n');
    const tls = credentials && { credentials, ca: authority.rootPem, alpn: ['istio-http/1.1', 'istio', 'http/1.1'] };
    const [answer] = await rawExchange(port, lines, tls === undefined ? {} : { tls });
    if (answer?.status !== 200) return `status ${answer?.status}`;
    return String((JSON.parse(answer.body) as Echo).headers[header] ?? 'nothing');
  };

/** The same server twice: behind an Envoy, and as a process of the mesh. */
async function bothServers(
  t: Test,
  program: string,
  settings: readonly ForwardClientCert[],
): Promise<readonly { readonly envoy: Ask; readonly ours: Ask }[]> {
  const app = await echoServer(t);
  const ports = settings.map((forwardClientCert, i) => ({
    name: `port-${i}`,
    mode: 'PERMISSIVE' as const,
    protocol: 'HTTP' as const,
    app,
    forwardClientCert,
  }));
  const envoy = await startEnvoy(t, program, (folder) =>
    inboundSidecar({ ports, secrets: fixedSecrets(reviews) }, folder),
  );
  return Promise.all(
    settings.map(async (setting, i) => {
      const mesh = await meshProcess(t, 'reviews', meshConfig(setting), reviews);
      const { port } = await mesh.listen(echo, { host: '127.0.0.1' });
      return { envoy: askAt(envoy.port(`port-${i}`)), ours: askAt(port) };
    }),
  );
}

// What is not said is true in Istio's configuration, and false in Envoy's.
const meshConfig = ({ details, mode }: ForwardClientCert): string => `
apiVersion: inmesh.dev/v1
kind: MeshConfig
spec:
  defaultConfig:
    proxyHeaders:
      forwardedClientCert: ${mode}
      setCurrentClientCertDetails: ${JSON.stringify({ subject: false, uri: false, dns: false, ...details })}
`;

t.test(
  ...withEnvoy('the element of a client, whatever is in its certificate', async (t, program) => {
    const names = [
      'web',
      'a,b',
      'a "quoted" b',
      'a+b=c;d<e>f',
      'a\\b',
      ' #x ',
      '#x',
      'müller 😀',
      'a\nb\tc',
      'By=x;URI=spiffe://a',
      'a/b',
    ];
    const { privateKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const clients: [string, TestCertificateOptions][] = [
      ['no subject', {}],
      ...names.map((name): [string, TestCertificateOptions] => [`subject ${name}`, { name }]),
      ['DNS names', { sans: [{ uri: webId }, { dns: 'web.shop' }, { dns: '*.a.test' }, { ip: [127, 0, 0, 1] }] }],
      ['DNS names before the SPIFFE ID', { sans: [{ dns: 'web.shop' }, { uri: webId }] }],
      ['an RSA key', { subjectKey: rsa }],
    ];
    const everything = [
      { mode: 'APPEND_FORWARD', details: istio },
      { mode: 'SANITIZE_SET', details: { ...istio, cert: true } },
      { mode: 'SANITIZE_SET', details: {} },
      { mode: 'SANITIZE_SET', details: { uri: true } },
      { mode: 'SANITIZE_SET', details: { dns: true, cert: true } },
    ];
    const servers = await bothServers(t, program, everything);
    for (const [what, options] of clients) {
      const credentials = authority.issue(webId, options);
      for (const [i, { envoy, ours }] of servers.entries()) {
        const expected = await envoy(credentials);
        t.match(expected, /^By=spiffe:.*;Hash=[\da-f]{64}/, what);
        t.equal(await ours(credentials), expected, `${what}: ${JSON.stringify(everything[i])}`);
      }
    }
  }),
);

t.test(
  ...withEnvoy('what the caller sent, in every mode', async (t, program) => {
    const modes = ['SANITIZE', 'FORWARD_ONLY', 'APPEND_FORWARD', 'SANITIZE_SET', 'ALWAYS_FORWARD_ONLY'];
    const servers = await bothServers(
      t,
      program,
      modes.map((mode) => ({ mode, details: istio })),
    );
    const sent: Readonly<Record<string, readonly string[]>> = {
      nothing: [],
      'one element': [`${header}: ${earlier}`],
      'two elements': [`${header}: ${earlier},${earlier}`],
      'two lines': [`${header}: ${earlier}`, `X-Forwarded-Client-Cert: ${earlier}`],
      'an empty line': [`${header}: `],
    };
    for (const [i, mode] of modes.entries()) {
      for (const [what, headers] of Object.entries(sent)) {
        for (const [how, credentials] of Object.entries({ mTLS: web, plaintext: undefined })) {
          const both = servers[i];
          const expected = await both?.envoy(credentials, headers);
          const own = (await both?.ours(credentials, headers)) ?? '';
          // Node joins lines with a comma and a space, an Envoy with a comma; to readers it is the same.
          t.equal(what === 'two lines' ? own.replaceAll(', ', ',') : own, expected, `${mode}, ${how}, ${what}`);
        }
      }
    }
  }),
);

t.test(
  ...withEnvoy('two hops, each an Envoy or a process of the mesh, make one and the same value', async (t, program) => {
    const [both] = await bothServers(t, program, [{ mode: 'APPEND_FORWARD', details: istio }]);
    const seen = new Set<string>();
    for (const first of ['envoy', 'ours'] as const) {
      const afterOne = (await both?.[first](web)) ?? '';
      for (const second of ['envoy', 'ours'] as const) {
        seen.add((await both?.[second](reviews, [`${header}: ${afterOne}`])) ?? '');
      }
    }
    t.equal(seen.size, 1);
    t.match([...seen][0], /^By=[^,]*URI=[^,]*\/web,By=[^,]*URI=[^,]*\/reviews$/);
  }),
);

t.test(
  ...withEnvoy(
    'where we differ on purpose: nothing that a reader could take for something else',
    async (t, program) => {
      const [both] = await bothServers(t, program, [{ mode: 'APPEND_FORWARD', details: istio }]);
      const own = (await both?.ours(web)) ?? '';
      const broken = ['garbage', 'By="never closed', 'Hash=0f;"'];
      for (const value of broken) {
        t.equal(await both?.envoy(web, [`${header}: ${value}`]), `${value},${own}`, `an Envoy appends to ${value}`);
        t.equal(await both?.ours(web, [`${header}: ${value}`]), own, `we drop ${value}`);
      }
      const odd = authority.issue(webId, { sans: [{ uri: webId }, { dns: 'a;URI=spiffe://a/b' }] });
      t.match(await both?.envoy(odd), /;DNS=a;URI=spiffe:\/\/a\/b$/);
      t.match(await both?.ours(odd), new RegExp(`;URI=${webId}$`));
    },
  ),
);
