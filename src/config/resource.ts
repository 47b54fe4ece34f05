import { editDistance, suggest } from '../lib/suggest.ts';
import { checkFields, unknownField } from './check.ts';
import type { Collector, Subject } from './collector.ts';
import { isConsulEntry, readConsulEntry } from './consul-entry.ts';
import type { ConfigDocument, Path } from './document.ts';
import { meshConfigMapTable } from './fields-mesh-config.ts';
import { canonicalHost } from './host-syntax.ts';
import { findKind, kindTables } from './kinds.ts';
import { holdsMeshConfig, openMeshConfigMap } from './mesh-config-map.ts';
import { checkMetadata } from './metadata.ts';
import { describePlace } from './problem.ts';
import { rememberStep } from './remember.ts';
import type { KindTable } from './schema.ts';
import { validatorOf } from './validators.ts';

/** A checked resource of a kind that has a compiler. */
export interface Resource<Body = unknown> extends Subject {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch, from `metadata.creationTimestamp`; Infinity when absent. */
  readonly createdAt: number;
  /** The whole resource. Its table has checked it, so the compiler of its kind knows its shape. */
  readonly body: Body;
}

/** Kubernetes' core kinds without meaning here; a `v1` kind outside this list is a mistake. */
const otherCoreKinds = new Set([
  'Binding',
  'ComponentStatus',
  'ConfigMap',
  'Endpoints',
  'Event',
  'LimitRange',
  'Namespace',
  'Node',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'PodTemplate',
  'ReplicationController',
  'ResourceQuota',
  'Secret',
  'ServiceAccount',
]);
/** Kubernetes' groups without a dot. */
const shortGroups = new Set(['apps', 'autoscaling', 'batch', 'extensions', 'policy']);
const ownGroup = /(^|\.)(istio\.io|inmesh\.dev)$/;

/**
 * Turns documents into checked resources. Kinds without a compiler end in the report as ignored;
 * what is unknown in an Istio group, or looks like a mistyped kind, is a problem: a policy that is
 * skipped in silence is a hole. A resource without a namespace belongs to `defaultNamespace`.
 */
export function readResources(
  documents: readonly ConfigDocument[],
  defaultNamespace: string,
  collector: Collector,
): readonly Resource[] {
  const resources: Resource[] = [];
  const seen = new Map<string, Resource>();
  for (const document of documents) {
    const found = readResourcesOf(document, defaultNamespace, collector);
    for (const { id, resource } of found) {
      const first = seen.get(id);
      if (first === undefined) {
        seen.set(id, resource);
        resources.push(resource);
      } else {
        const where = describePlace(collector.at(first, ['metadata', 'name']));
        const message = `there is another ${resource.kind} of this name at ${where}`;
        collector.problem(resource, ['metadata', 'name'], message, resource.name);
      }
    }
  }
  return resources;
}

/** A resource and what may be there only once. */
export interface Found {
  /** Group, kind, namespace and name. */
  readonly id: string;
  readonly resource: Resource;
}

const readOnce = rememberStep<ConfigDocument, readonly Found[]>();

/** Those of one document, as {@link readResources}; a document that stays is not read again. */
export function readResourcesOf(
  document: ConfigDocument,
  defaultNamespace: string,
  collector: Collector,
): readonly Found[] {
  return readOnce(document, [defaultNamespace], collector, () => readDocument(document, defaultNamespace, collector));
}

function readDocument(document: ConfigDocument, defaultNamespace: string, collector: Collector): readonly Found[] {
  const resources: Found[] = [];
  readItem(document, document.value, [], 0);
  return resources;

  function readItem(document: ConfigDocument, value: unknown, base: Path, depth: number): void {
    if (value === null || value === undefined) return;
    const nobody: Subject = { kind: '', namespace: '', name: '', document, base };
    if (!isRecord(value)) {
      collector.problem(nobody, [], 'must be a resource: a map with apiVersion, kind and metadata', value);
      return;
    }
    if (isConsulEntry(value)) {
      const resource = readConsulEntry(value, document, base, defaultNamespace, collector);
      if (resource !== undefined)
        resources.push({ id: `consul/${resource.kind}/${resource.namespace}/${resource.name}`, resource });
      return;
    }
    const subject = identify(value, document, base, defaultNamespace);
    const { apiVersion, kind } = value;
    if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
      const missing = typeof apiVersion === 'string' ? 'kind' : 'apiVersion';
      const text = 'must be there: a resource has apiVersion, kind and metadata';
      collector.problem(subject, [missing], text, ...(Object.hasOwn(value, missing) ? [value[missing]] : []));
      return;
    }
    if (kind === 'List' && apiVersion === 'v1' && depth === 0) {
      if (!Array.isArray(value['items'])) collector.problem(subject, ['items'], 'must be a list of resources');
      else value['items'].forEach((item, index) => void readItem(document, item, [...base, 'items', index], 1));
      return;
    }
    if (holdsMeshConfig(apiVersion, kind, subject.name, value)) {
      const opened = openMeshConfigMap(value, document, base);
      const inner = { ...subject, document: opened.document };
      for (const { message, at } of opened.problems) {
        collector.problem(inner, ['data', 'mesh'], `${message} (line ${at?.line ?? 1} of the text)`);
      }
      if (opened.problems.length === 0) readResource(inner, opened.value, meshConfigMapTable);
      return;
    }
    const table = chooseTable(subject, apiVersion, kind);
    if (table === undefined) return;
    if (table.status === 'refused') {
      collector.refuse(subject, ['kind'], `is refused: ${table.note ?? 'not supported'}`, kind);
    } else if (table.status === 'ignored') {
      collector.warn(subject, [], 'ignored', table.note ?? 'has no effect');
    }
    const { metadata = {} } = value;
    if (table.unnamed === true && isRecord(metadata)) {
      const named = { ...value, metadata: { name: 'default', ...metadata } };
      readResource(identify(named, document, base, defaultNamespace), named, table);
    } else readResource(subject, value, table);
  }

  function readResource(subject: Subject, value: Readonly<Record<string, unknown>>, table: KindTable): void {
    const { kind } = subject;
    const before = collector.countInvalid();
    const problems = collector.problems.length;
    checkTopLevel(subject, value, table);
    checkMetadata(subject, value, table, collector);
    checkFields(subject, value, table.fields, collector, table.status === 'refused' ? 'ignored' : table.status);
    // What is only refused is read further: the rest of it may be invalid too.
    if (collector.countInvalid() > before) return;
    // Fields that are null have been refused.
    const body = collector.problems.length > problems ? (withoutNulls(value) as typeof value) : value;
    const resource = complete(subject, body);
    resources.push({ id: `${table.group}/${kind}/${resource.namespace}/${resource.name}`, resource });
    validatorOf(table)?.(resource, collector);
  }

  /** The table of a kind that is to be read further, or nothing after saying why not. */
  function chooseTable(subject: Subject, apiVersion: string, kind: string): KindTable | undefined {
    const slash = apiVersion.indexOf('/');
    const group = slash === -1 ? '' : apiVersion.slice(0, slash);
    const version = apiVersion.slice(slash + 1);
    const table = findKind(group, kind);
    if (table !== undefined) {
      if (table.versions.includes(version)) return table;
      const known = table.versions.map((each) => (group === '' ? each : `${group}/${each}`)).join(', ');
      collector.problem(subject, ['apiVersion'], `must be one of ${known} for ${kind}`, apiVersion);
      return undefined;
    }
    const inGroup = kindTables.filter((each) => each.group === group).map((each) => each.kind);
    if (
      ownGroup.test(group) ||
      (group === '' && !otherCoreKinds.has(kind)) ||
      !(group === '' || group.includes('.') || shortGroups.has(group))
    ) {
      const meant = suggest(kind, inGroup);
      const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
      collector.problem(subject, ['kind'], `is not a kind that is known in ${apiVersion}${hint}`, kind);
      return undefined;
    }
    // A policy in a mistyped group must not be skipped like a Deployment.
    const namesake = kindTables.find((each) => each.kind === kind && each.group !== '');
    if (
      namesake !== undefined &&
      (namesake.group === 'security.istio.io' || editDistance(group, namesake.group) <= 3)
    ) {
      collector.problem(
        subject,
        ['apiVersion'],
        `must be ${namesake.group}/${namesake.versions[0]} for ${kind}`,
        apiVersion,
      );
      return undefined;
    }
    collector.entry(subject, [], 'ignored', `${kind} has no meaning for a mesh`);
    return undefined;
  }

  function checkTopLevel(subject: Subject, value: Readonly<Record<string, unknown>>, table: KindTable): void {
    const known = ['apiVersion', 'kind', 'metadata', 'status', ...Object.keys(table.fields)];
    for (const name of Object.keys(value)) {
      if (known.includes(name)) continue;
      collector.problemAtKey(subject, [name], unknownField(name, known), value[name]);
    }
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Kind and name as far as they are there, so that even the first message can name the resource. */
function identify(
  value: Readonly<Record<string, unknown>>,
  document: ConfigDocument,
  base: Path,
  defaultNamespace: string,
): Subject {
  const metadata = isRecord(value['metadata']) ? value['metadata'] : {};
  const text = (item: unknown, fallback: string): string => (typeof item === 'string' ? item : fallback);
  const name = text(metadata['name'], '');
  return {
    kind: text(value['kind'], ''),
    namespace: text(metadata['namespace'], name === '' ? '' : defaultNamespace),
    name,
    document,
    base,
  };
}

function complete(subject: Subject, value: Readonly<Record<string, unknown>>): Resource {
  const metadata = value['metadata'] as Readonly<Record<string, unknown>>;
  const created = metadata['creationTimestamp'];
  const createdAt = typeof created === 'string' ? Date.parse(created) : Number.NaN;
  const annotations = Object.entries((metadata['annotations'] ?? {}) as Readonly<Record<string, unknown>>);
  return {
    ...subject,
    labels: (metadata['labels'] ?? {}) as Readonly<Record<string, string>>,
    annotations: Object.fromEntries(annotations.map(([key, each]) => [key, String(each)])),
    createdAt: Number.isNaN(createdAt) ? Number.POSITIVE_INFINITY : createdAt,
    body: value,
  };
}

/**
 * Istio's order of precedence: older first, then by name and namespace. Without a time stamp: younger than all with
 * one. Only resources of different kinds can be equal.
 */
export function byAge(a: Resource, b: Resource): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return 0;
}

/** Is a resource with this `exportTo` visible in the namespace of the workload? Absent: everywhere. */
export function isExported(exportTo: readonly string[] | undefined, owner: string, viewer: string): boolean {
  if (exportTo === undefined || exportTo.length === 0) return true;
  return exportTo.some((to) => to === '*' || to === viewer || (to === '.' && owner === viewer));
}

/** Istio's rule for short names: a name without a dot belongs to the namespace of the resource. One spelling for each name. */
export function resolveHost(host: string, namespace: string, clusterDomain: string): string {
  const isFull = host === '*' || host.includes('.') || host.includes(':');
  return isFull ? canonicalHost(host) : `${host.toLowerCase()}.${namespace}.svc.${clusterDomain}`;
}

/** Without the fields that are null, as Kubernetes stores it. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isRecord(value)) return value;
  const kept = Object.entries(value).filter(([, each]) => each !== null);
  return Object.fromEntries(kept.map(([name, each]) => [name, withoutNulls(each)]));
}
