import type { Snapshot } from '../model/snapshot.ts';
import type { HostTable } from '../route/host-table.ts';
import { whyNoConnection } from '../route/own-tls.ts';
import { createWeightedChoice } from '../route/weighted.ts';
import { explainDestinations } from './destinations.ts';
import { ruleName, virtualHostOf } from './passed-over.ts';
import { explainPlaces, explainTunnel } from './places.ts';
import { explainTls } from './policies.ts';
import type { OutboundQuestion } from './request.ts';
import type { OutboundExplanation } from './result.ts';

type Parts = Omit<OutboundExplanation, 'direction' | 'passedOver' | 'notes'> &
  Partial<Pick<OutboundExplanation, 'passedOver' | 'notes'>>;

/** A connection whose content the mesh does not read: `tcp` and `tls` rules. */
export function explainConnection(
  {
    hosts,
    snapshot,
    withoutIdentity,
  }: { readonly hosts: HostTable; readonly snapshot: Snapshot; readonly withoutIdentity?: boolean | undefined },
  question: OutboundQuestion,
): Parts | 'passthrough' | 'refused' {
  const { host, port, random, sni } = question;
  const target = hosts.connection(host.replace(/^\[(.*)\]$/, '$1'), port, sni);
  if (target.kind !== 'host') return target.kind;
  const { name, route } = target;
  const virtualHost = virtualHostOf(snapshot, name);
  const passedOver = (virtualHost?.skipped ?? []).map(({ provenance, reason }) => ({
    rule: ruleName(provenance),
    at: provenance,
    reasons: [reason],
  }));
  if (route === undefined) {
    const named = sni === undefined ? '' : ` with the name ${sni}`;
    return { decision: 'no-route', reason: `no rule of ${name} matches a connection${named}`, passedOver };
  }
  const options = route.destinations.map(({ cluster, weight }) => ({ weight, value: cluster }));
  const chosen = createWeightedChoice(options, () => random)();
  const cluster = snapshot.clusters.get(chosen);
  const { tls, note } = cluster === undefined ? {} : explainTls(cluster, question, withoutIdentity);
  const missing = cluster === undefined ? [`${chosen} does not exist: the connection is refused`] : [];
  const places = cluster && explainPlaces(cluster);
  const tunnel = cluster && explainTunnel(cluster);
  if (tunnel !== undefined) missing.push(tunnel);
  const refusal = cluster && whyNoConnection(cluster, sni !== undefined);
  if (refusal !== undefined) missing.push(refusal);
  const { provenance } = route;
  return {
    decision: refusal === undefined ? 'route' : 'refused',
    ...(provenance === undefined ? {} : { rule: ruleName(provenance), at: provenance, name: route.name }),
    cluster: chosen,
    destinations: explainDestinations(route.destinations),
    ...(tls === undefined ? {} : { tls }),
    reason: route.sniHosts === undefined ? 'the rule takes this connection' : `the rule is for ${sni}`,
    passedOver,
    notes: [...missing, ...(places === undefined ? [] : [places]), ...(note === undefined ? [] : [note])],
  };
}
