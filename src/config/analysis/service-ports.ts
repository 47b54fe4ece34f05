import type { ServiceEntryBody } from '../istio-service-entry.ts';
import type { ServiceBody } from '../kubernetes-service.ts';
import { protocolOf } from '../protocol.ts';
import type { Analyzer } from './context.ts';

/** Kubernetes' own names for `appProtocol` that Istio reads. */
const appProtocols = new Set(['kubernetes.io/h2c', 'kubernetes.io/ws', 'kubernetes.io/wss']);

/** Ports that do not say what is spoken there. */
export const analyzeServicePorts: Analyzer = (context) => {
  for (const resource of context.ofKind<ServiceBody>('Service')) {
    const { ports = [], type } = resource.body.spec;
    if (/^(kube|istio)-system$/.test(resource.namespace)) continue;
    for (const [index, { port, name = '', protocol = 'TCP', appProtocol }] of ports.entries()) {
      if (protocol !== 'TCP') continue;
      const path = ['spec', 'ports', index];
      if (type === 'ExternalName') {
        if (name === '' || name.toLowerCase().startsWith('tcp')) {
          const message = `port ${port} of an ExternalName service is TCP; name it after its protocol`;
          context.report('IST0150', resource, path, message);
        }
      } else if (!saysProtocol(appProtocol ?? name, appProtocol !== undefined)) {
        const what = appProtocol === undefined ? `the name ${JSON.stringify(name)}` : `appProtocol ${appProtocol}`;
        const message = `${what} of port ${port} does not say the protocol: <protocol>[-<suffix>], or appProtocol`;
        context.report('IST0118', resource, path, message);
      }
    }
  }
};

function saysProtocol(text: string, exact: boolean): boolean {
  const name = text.toLowerCase();
  if (appProtocols.has(name)) return true;
  if (name === '') return false;
  const word = exact ? name : name.startsWith('grpc-web') ? 'grpc-web' : (name.split('-')[0] ?? '');
  return protocolOf(word) !== undefined;
}

/** TCP services that have no address by which a sidecar could tell them apart, and get none from Istio. */
export const analyzeServiceEntryAddresses: Analyzer = (context) => {
  for (const resource of context.ofKind<ServiceEntryBody>('ServiceEntry')) {
    const { addresses = [], ports = [], resolution = 'NONE', hosts } = resource.body.spec;
    if (addresses.length > 0) continue;
    // Istio gives addresses to entries with names and a resolution.
    if (resolution !== 'NONE' && hosts.every((host) => !host.startsWith('*'))) continue;
    for (const [index, { protocol = '' }] of ports.entries()) {
      if (!/^(|tcp)$/i.test(protocol)) continue;
      const message = 'is TCP, or says no protocol: without addresses sidecars cannot tell its traffic apart';
      context.report('IST0134', resource, ['spec', 'ports', index], message);
    }
  }
};
