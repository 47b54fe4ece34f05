import { compileRegex } from '../lib/regex.ts';
import { wrongHeader } from './authorization-when.ts';
import type { Collector } from './collector.ts';
import type { HeaderPermission, HttpPermission, IntentionsBody, SourceIntention } from './consul-intentions.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

/** What Consul refuses in a `service-intentions` entry whose fields have the right types (`Validate`). */
export function validateServiceIntentions(resource: Resource<IntentionsBody>, collector: Collector): void {
  const { Meta = {}, Name, Namespace, Sources } = resource.body;
  const problem = (path: Path, message: string, ...value: readonly unknown[]): void =>
    collector.problem(resource, path, message, ...value);
  checkWildcards(Name, Namespace, [], problem);
  const policy = Meta['default_intention_policy'];
  if (policy !== undefined && policy !== 'allow' && policy !== 'deny') {
    problem(['Meta', 'default_intention_policy'], 'must be allow or deny', policy);
  }
  const wild = Name === '*' || Namespace === '*';
  const seen = new Set<string>();
  for (const [index, source] of Sources.entries()) {
    const path: Path = ['Sources', index];
    const id = JSON.stringify([source.Partition, source.Namespace, source.Name]);
    if (seen.has(id)) problem([...path, 'Name'], 'is named twice: one intention for each source', source.Name);
    seen.add(id);
    checkWildcards(source.Name, source.Namespace, path, problem);
    if (source.Partition?.includes('*')) problem([...path, 'Partition'], 'must not be a wildcard', source.Partition);
    checkSource(source, wild, path, problem);
  }
}

type Say = (path: Path, message: string, ...value: readonly unknown[]) => void;

function checkWildcards(name: string, namespace: string | undefined, path: Path, problem: Say): void {
  for (const [field, text] of [
    ['Name', name],
    ['Namespace', namespace ?? ''],
  ] as const) {
    if (text !== '*' && text.includes('*')) problem([...path, field], 'may be *, but not have one among others', text);
    if (text.includes('/')) problem([...path, field], 'must not have a /', text);
  }
  if (namespace === '*' && name !== '*') problem([...path, 'Name'], 'must be * where the namespace is', name);
}

function checkSource({ Action, Permissions = [] }: SourceIntention, wild: boolean, path: Path, problem: Say): void {
  if (Permissions.length === 0) {
    if (Action === undefined) problem(path, 'needs Action (allow or deny) or Permissions');
    return;
  }
  if (Action !== undefined) problem([...path, 'Action'], 'must not be there beside Permissions', Action);
  if (wild) problem([...path, 'Permissions'], 'must not be there for a destination that is a wildcard');
  for (const [index, { HTTP }] of Permissions.entries()) {
    checkPermission(HTTP, [...path, 'Permissions', index, 'HTTP'], problem);
  }
}

const knownMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE'];

function checkPermission(http: HttpPermission, path: Path, problem: Say): void {
  const { Header = [], Methods = [], PathExact, PathPrefix, PathRegex } = http;
  const paths = [PathExact, PathPrefix, PathRegex].filter((each) => each !== undefined);
  if (paths.length + Header.length + Methods.length === 0) {
    problem(path, 'must say something: an empty permission would be for everything');
  }
  for (const [field, text] of [
    ['PathExact', PathExact],
    ['PathPrefix', PathPrefix],
  ] as const) {
    if (text !== undefined && !text.startsWith('/')) problem([...path, field], 'must begin with /', text);
  }
  if (PathRegex !== undefined) checkRegex(PathRegex, [...path, 'PathRegex'], problem);
  const upper = Methods.map((method) => method.toUpperCase());
  for (const [index, method] of upper.entries()) {
    const at = [...path, 'Methods', index];
    if (!knownMethods.includes(method)) problem(at, `must be one of ${knownMethods.join(', ')}`, method);
    else if (upper.indexOf(method) < index) problem(at, 'is there twice', method);
  }
  for (const [index, header] of Header.entries()) checkHeader(header, [...path, 'Header', index], problem);
}

const forms = ['Present', 'Exact', 'Prefix', 'Suffix', 'Contains', 'Regex'] as const;

function checkHeader(header: HeaderPermission, path: Path, problem: Say): void {
  const wrong = wrongHeader(header.Name.toLowerCase(), 'PathExact, PathPrefix or PathRegex');
  if (wrong !== undefined) problem([...path, 'Name'], wrong, header.Name);
  const set = forms.filter((form) => header[form] !== undefined && header[form] !== false);
  if (set.length !== 1) problem(path, `must have exactly one of ${forms.join(', ')}`);
  if (header.IgnoreCase === true && (set[0] === 'Present' || set[0] === 'Regex')) {
    problem([...path, 'IgnoreCase'], `must not be there with ${set[0]}`);
  }
  if (header.Regex !== undefined) checkRegex(header.Regex, [...path, 'Regex'], problem);
}

function checkRegex(pattern: string, path: Path, problem: Say): void {
  try {
    compileRegex(pattern);
  } catch (error) {
    problem(path, error instanceof Error ? error.message : String(error));
  }
}
