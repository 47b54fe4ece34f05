/** What Consul's identity of a service says, parsed once; compare fields, never search text. */
export interface ConsulServiceId {
  readonly trustDomain: string;
  /** Admin partition; `default` where the identity names none. */
  readonly partition: string;
  readonly namespace: string;
  readonly datacenter: string;
  readonly service: string;
}

/**
 * Reads `spiffe://<trust domain>[/ap/<partition>]/ns/<namespace>/dc/<datacenter>/svc/<service>`, the SPIFFE ID
 * of a service in Consul (`agent/connect/uri_service.go`); nothing for identities of other forms.
 *
 * @param spiffeId a valid SPIFFE ID
 */
export function consulServiceOf(spiffeId: string): ConsulServiceId | undefined {
  const [, , trustDomain = '', ...path] = spiffeId.split('/');
  const partitioned = path[0] === 'ap';
  const [ns, namespace, dc, datacenter, svc, service, ...more] = partitioned ? path.slice(2) : path;
  if (ns !== 'ns' || dc !== 'dc' || svc !== 'svc' || !namespace || !datacenter || !service) return undefined;
  if (more.length > 0) return undefined;
  return { trustDomain, partition: partitioned ? (path[1] ?? '') : 'default', namespace, datacenter, service };
}
