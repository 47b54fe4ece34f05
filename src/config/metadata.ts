import { checkFields } from './check.ts';
import type { Collector, Subject } from './collector.ts';
import type { Field, KindTable } from './schema.ts';
import { any, list, map, nullable, object, openObject, required, string } from './schema.ts';

/** RFC 1123: the names of namespaces. */
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** RFC 1123: the names of most objects, and the prefixes of label keys. */
const subdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** RFC 1035: Kubernetes wants a letter first in the names of Services. */
const serviceName = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** What Kubernetes allows in no kind's name is refused; roles and the like may have more than others. */
const anyName = /^[a-zA-Z0-9]([-a-zA-Z0-9._:]{0,251}[a-zA-Z0-9])?$/;
const keyName = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** Only `istio.io` kinds are Istio's to judge; others may be named more freely. */
const istioGroup = /(^|\.)(istio\.io|inmesh\.dev)$/;
/** Istio's own switch to try out what a rejection looks like. */
const alwaysReject = 'internal.istio.io/webhook-always-reject';

const fields: Readonly<Record<string, Field>> = {
  metadata: required(
    object({
      name: string({ pattern: anyName, mustBe: 'a name of letters, digits, - and .' }),
      // Kubernetes takes null for absent here, and its own tools write it.
      namespace: nullable(string({ pattern: label, mustBe: 'a namespace of a-z, 0-9 and -' })),
      labels: nullable(map(string())),
      annotations: nullable(map(any)),
      creationTimestamp: any,
      deletionGracePeriodSeconds: any,
      deletionTimestamp: any,
      finalizers: nullable(list(any)),
      generateName: any,
      generation: any,
      managedFields: any,
      ownerReferences: nullable(list(openObject({}))),
      resourceVersion: any,
      selfLink: any,
      uid: any,
    }),
  ),
};

/** Checks the metadata of a resource as Kubernetes does, and what Istio's webhook wants of it. */
export function checkMetadata(
  subject: Subject,
  body: Readonly<Record<string, unknown>>,
  table: KindTable,
  collector: Collector,
): void {
  const before = collector.countInvalid();
  // Metadata is checked like everything, but its fields do not belong into the report.
  checkFields(subject, body, fields, { ...collector, entry: () => {}, later: () => {} });
  if (collector.countInvalid() > before) return;
  const metadata = body['metadata'] as Readonly<Record<string, unknown>>;
  const { name, generateName } = metadata;
  if (name === undefined) {
    if (typeof generateName !== 'string') collector.problem(subject, ['metadata'], 'needs the field name');
  } else if (istioGroup.test(table.group) && !subdomain.test(name as string)) {
    const text = 'must be a name of a-z, 0-9, - and ., that begins and ends with a letter or digit';
    collector.problem(subject, ['metadata', 'name'], text, name);
  } else if (table.kind === 'Service' && table.group === '' && !serviceName.test(name as string)) {
    const text = 'must be the name of a service: at most 63 of a-z, 0-9 and -, a letter first';
    collector.problem(subject, ['metadata', 'name'], text, name);
  }
  checkLabels(subject, ['metadata', 'labels'], metadata['labels'], collector);
  const annotations = (metadata['annotations'] ?? {}) as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(annotations)) {
    if (!isQualifiedName(key.toLowerCase())) {
      const text = 'the key of an annotation must be [<prefix>/]<name> of letters, digits, -, _ and .';
      collector.problem(subject, ['metadata', 'annotations', key], text, key);
    }
  }
  if (Object.hasOwn(annotations, alwaysReject) && istioGroup.test(table.group)) {
    collector.problem(subject, ['metadata', 'annotations', alwaysReject], 'Istio rejects whatever has this annotation');
  }
  checkDryRun(subject, body, annotations, table, collector);
}

/** A label key or value that Kubernetes does not allow, wherever labels are written. */
export function checkLabels(
  subject: Subject,
  path: readonly (string | number)[],
  labels: unknown,
  collector: Collector,
): void {
  for (const [key, value] of Object.entries((labels ?? {}) as Readonly<Record<string, string>>)) {
    if (!isQualifiedName(key)) {
      const text = 'the key of a label must be [<prefix>/]<name>: letters, digits, -, _ and ., at most 63';
      collector.problem(subject, [...path, key], text, key);
    } else if (!labelValue.test(value)) {
      const text = 'must be a label value: at most 63 letters, digits, -, _ and ., letters or digits at both ends';
      collector.problem(subject, [...path, key], text, value);
    }
  }
}

function isQualifiedName(key: string): boolean {
  const slash = key.indexOf('/');
  return slash === -1 ? keyName.test(key) : subdomain.test(key.slice(0, slash)) && keyName.test(key.slice(slash + 1));
}

const dryRun = 'istio.io/dry-run';
/** What Go's `strconv.ParseBool` takes. */
const booleans = new Set(['1', 't', 'T', 'TRUE', 'true', 'True', '0', 'f', 'F', 'FALSE', 'false', 'False']);

function checkDryRun(
  subject: Subject,
  body: Readonly<Record<string, unknown>>,
  annotations: Readonly<Record<string, unknown>>,
  table: KindTable,
  collector: Collector,
): void {
  const own = table.kind === 'EgressPolicy';
  if (!Object.hasOwn(annotations, dryRun) || !(istioGroup.test(table.group) || own)) return;
  const path = ['metadata', 'annotations', dryRun];
  if (table.kind !== 'AuthorizationPolicy' && !own) {
    collector.problem(subject, path, 'is only for AuthorizationPolicy');
    return;
  }
  const spec = body['spec'];
  const action = typeof spec === 'object' && spec !== null && 'action' in spec ? spec.action : 'ALLOW';
  if (action === 'AUDIT' || action === 'CUSTOM') {
    collector.problem(subject, path, `cannot be used with the action ${action}, only with ALLOW and DENY`);
  } else if (!booleans.has(String(annotations[dryRun]))) {
    collector.problem(subject, path, 'must be "true" or "false"', annotations[dryRun]);
  }
}
