import type { KindTable } from './schema.ts';
import { boolean, integer, list, map, nullable, object, oneOfValues, required, string } from './schema.ts';

const version = oneOfValues('TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3');

const tls = object({
  httpsRedirect: boolean,
  mode: oneOfValues('PASSTHROUGH', 'SIMPLE', 'MUTUAL', 'AUTO_PASSTHROUGH', 'ISTIO_MUTUAL', 'OPTIONAL_MUTUAL'),
  serverCertificate: string(),
  privateKey: string(),
  caCertificates: string(),
  caCrl: string(),
  credentialName: string(),
  credentialNames: list(string()),
  caCertCredentialName: string(),
  tlsCertificates: list(object({ serverCertificate: string(), privateKey: string(), caCertificates: string() })),
  subjectAltNames: list(string()),
  verifyCertificateSpki: list(string()),
  verifyCertificateHash: list(string()),
  minProtocolVersion: version,
  maxProtocolVersion: version,
  cipherSuites: list(string()),
  insecureSkipVerify: nullable(boolean),
});

/** `networking.istio.io` Gateway: an edge proxy, which inmesh is not. */
export const gatewayTable: KindTable = {
  kind: 'Gateway',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'ignored',
  note: 'configures edge proxies',
  reference: 'https://istio.io/latest/docs/reference/config/networking/gateway/',
  fields: {
    spec: required(
      object({
        selector: map(string()),
        servers: list(
          object({
            name: string(),
            bind: string(),
            port: required(
              object({
                number: integer(0, 4_294_967_295),
                protocol: string(),
                name: string(),
                targetPort: integer(0, 4_294_967_295),
              }),
            ),
            hosts: list(string()),
            tls,
            defaultEndpoint: string(),
          }),
        ),
      }),
    ),
  },
};
