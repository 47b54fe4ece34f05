import type { MtlsMode, MtlsPolicy } from '../model/inbound.ts';
import type { Collector } from './collector.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { describeResource } from './problem.ts';
import { byAge, type Resource } from './resource.ts';
import { selects } from './values.ts';

export interface PeerAuthenticationBody {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly mtls?: { readonly mode?: MtlsMode | 'UNSET' };
    readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: MtlsMode | 'UNSET' }>>;
  };
}

/** The mTLS policy of any workload of the mesh. */
export interface PeerAuthentications {
  policyFor(namespace: string, labels: Readonly<Record<string, string>>): MtlsPolicy;
}

/**
 * Indexes PeerAuthentications as Istio does: one for the mesh (root namespace), one per namespace,
 * and those with a selector; of several at one level the oldest counts. UNSET inherits.
 */
export function createPeerAuthentications(
  resources: readonly Resource<PeerAuthenticationBody>[],
  { rootNamespace }: Pick<MeshSettings, 'rootNamespace'>,
  collector: Collector,
): PeerAuthentications {
  const byNamespace = new Map<string, Resource<PeerAuthenticationBody>>();
  const selective = new Map<string, Resource<PeerAuthenticationBody>[]>();
  for (const resource of [...resources].sort(byAge)) {
    check(resource, rootNamespace, collector);
    if (labelsOf(resource) !== undefined) {
      const list = selective.get(resource.namespace);
      if (list === undefined) selective.set(resource.namespace, [resource]);
      else list.push(resource);
      continue;
    }
    const older = byNamespace.get(resource.namespace);
    if (older === undefined) byNamespace.set(resource.namespace, resource);
    else collector.warn(resource, ['spec'], 'ignored', `${describeResource(older)} is older and counts instead`);
  }
  return {
    policyFor(namespace, labels) {
      const own = selective.get(namespace)?.find((resource) => selects(labelsOf(resource) ?? {}, labels));
      return merge(byNamespace.get(rootNamespace), byNamespace.get(namespace), own);
    },
  };
}

function check(resource: Resource<PeerAuthenticationBody>, rootNamespace: string, collector: Collector): void {
  const { spec = {} } = resource.body;
  const selecting = labelsOf(resource) !== undefined;
  if (selecting && resource.namespace === rootNamespace) {
    const why = `Istio ignores it: in the root namespace ${rootNamespace} a policy is for the whole mesh`;
    collector.refuse(resource, ['spec', 'selector'], `is refused: ${why}`);
  }
  const ports = Object.keys(spec.portLevelMtls ?? {});
  if (ports.length > 0 && !selecting) {
    collector.problem(resource, ['spec', 'portLevelMtls'], 'needs a selector with labels, as in Istio');
  }
  if (ports.length === 0 && spec.portLevelMtls !== undefined) {
    collector.problem(resource, ['spec', 'portLevelMtls'], 'must have at least one port');
  }
  for (const port of ports) {
    if (Number(port) <= 65_535) continue;
    collector.problem(resource, ['spec', 'portLevelMtls', port], 'must be a port from 1 to 65535', port);
  }
}

/** Labels of the selector; nothing when it selects everything. */
function labelsOf(resource: Resource<PeerAuthenticationBody>): Readonly<Record<string, string>> | undefined {
  const labels = resource.body.spec?.selector?.matchLabels ?? {};
  return Object.keys(labels).length === 0 ? undefined : labels;
}

function merge(...levels: readonly (Resource<PeerAuthenticationBody> | undefined)[]): MtlsPolicy {
  let mode: MtlsMode = 'PERMISSIVE';
  let decisive: Resource<PeerAuthenticationBody> | undefined;
  for (const level of levels) {
    const own = level?.body.spec?.mtls?.mode ?? 'UNSET';
    if (own === 'UNSET') continue;
    mode = own;
    decisive = level;
  }
  const workload = levels.at(-1);
  const ports = new Map<number, MtlsMode>();
  for (const [port, { mode: own = 'UNSET' }] of Object.entries(workload?.body.spec?.portLevelMtls ?? {})) {
    // UNSET at a port inherits the mode of the workload.
    ports.set(Number(port), own === 'UNSET' ? mode : own);
  }
  const from = ports.size > 0 ? workload : decisive;
  return { mode, ports, ...(from === undefined ? {} : { provenance: provenanceOf(from) }) };
}

function provenanceOf(resource: Resource): NonNullable<MtlsPolicy['provenance']> {
  const { kind, namespace, name, document, base } = resource;
  const place = document.locate([...base, 'kind'], true);
  return { kind, namespace, name, ...(document.file === undefined ? {} : { file: document.file }), ...place };
}
