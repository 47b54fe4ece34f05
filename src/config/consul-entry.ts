import { checkFields, unknownField } from './check.ts';
import type { Collector, Subject } from './collector.ts';
import type { ConfigDocument, Path } from './document.ts';
import { serviceIntentionsTable } from './fields-consul.ts';
import type { Resource } from './resource.ts';
import { validatorOf } from './validators.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Consul's config entries have `Kind` and `Name` at the top, and neither `apiVersion` nor `metadata`. */
export function isConsulEntry(value: Fields): boolean {
  return 'Kind' in value && !('apiVersion' in value) && !('kind' in value);
}

/** Kinds of config entries that say nothing about who may call, or what intentions must not need. */
const otherKinds = new Set([
  'api-gateway',
  'bound-api-gateway',
  'control-plane-request-limit',
  'exported-services',
  'file-system-certificate',
  'http-route',
  'ingress-gateway',
  'inline-certificate',
  'jwt-provider',
  'mesh',
  'proxy-defaults',
  'sameness-group',
  'service-defaults',
  'service-resolver',
  'service-router',
  'service-splitter',
  'tcp-route',
  'terminating-gateway',
]);

/** A config entry as a checked resource; nothing when it has no meaning here, or is wrong. */
export function readConsulEntry(
  value: Fields,
  document: ConfigDocument,
  base: Path,
  defaultNamespace: string,
  collector: Collector,
): Resource | undefined {
  const { fields, kind } = serviceIntentionsTable;
  const text = (name: string, fallback: string): string => {
    const item = value[name];
    return typeof item === 'string' ? item : fallback;
  };
  const namespace = text('Namespace', defaultNamespace);
  const subject: Subject = { kind: text('Kind', ''), namespace, name: text('Name', ''), document, base };
  if (otherKinds.has(subject.kind)) {
    collector.entry(subject, [], 'ignored', 'of the config entries of Consul only service-intentions are read');
    return undefined;
  }
  if (subject.kind !== kind) {
    collector.problem(subject, ['Kind'], `must be ${kind}, or another kind of config entry of Consul`, value['Kind']);
    return undefined;
  }
  const before = collector.problems.length;
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(fields, name)) continue;
    collector.problemAtKey(subject, [name], unknownField(name, Object.keys(fields)), value[name]);
  }
  checkFields(subject, value, fields, collector);
  if (collector.problems.length > before) return undefined;
  const resource: Resource = {
    ...subject,
    labels: {},
    annotations: {},
    createdAt: Number.POSITIVE_INFINITY,
    body: value,
  };
  validatorOf(serviceIntentionsTable)?.(resource, collector);
  return resource;
}
