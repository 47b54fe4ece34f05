import { type ClientCertDetails, defaultClientCertDetails } from '../lib/forwarded-client-cert.ts';
import { defaultForwardClientCert, type ForwardClientCert, type ForwardClientCertMode } from '../model/inbound.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

/** Istio `ProxyConfig.ProxyHeaders`, as far as it has an effect. */
export interface ProxyHeadersSpec {
  readonly forwardedClientCert?: ForwardClientCertMode | 'UNDEFINED';
  readonly setCurrentClientCertDetails?: Partial<ClientCertDetails>;
}

/** What happens to `x-forwarded-client-cert`; nothing where nothing else than the default is said. */
export function forwardClientCertOf(
  resource: Resource,
  spec: ProxyHeadersSpec | undefined,
  path: Path,
  collector: Collector,
): { readonly forwardClientCert?: ForwardClientCert } {
  const { forwardedClientCert = 'UNDEFINED', setCurrentClientCertDetails = {} } = spec ?? {};
  const mode = forwardedClientCert === 'UNDEFINED' ? defaultForwardClientCert.mode : forwardedClientCert;
  if (mode === 'ALWAYS_FORWARD_ONLY') {
    const why = 'whoever reaches a port that takes plaintext can say that anybody called';
    collector.warn(resource, [...path, 'forwardedClientCert'], 'enforced', why);
  }
  const details: ClientCertDetails = { ...defaultClientCertDetails, ...setCurrentClientCertDetails };
  const same = mode === defaultForwardClientCert.mode && Object.keys(setCurrentClientCertDetails).length === 0;
  return same ? {} : { forwardClientCert: { mode, details } };
}
