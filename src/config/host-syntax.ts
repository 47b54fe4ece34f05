/**
 * The syntax of host names, labels and ports as Istio's own validation understands it. A name that
 * Istio accepts is accepted here, and the other way round.
 */

const label = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$/;
const wildcardLabel = /^(?:\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)$/;
const allDigits = /^[0-9]{1,18}$/;
const labelName = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelPrefix = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)*$/;
const labelValue = /^(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

/** A label of a DNS name, in any case: namespaces, port names, parts of a host. */
export function isLabel(text: string): boolean {
  return label.test(text);
}

/** A DNS name; one label is enough, and a trailing dot is allowed. Not an IPv4 address. */
export function isFqdn(text: string): boolean {
  return text !== '' && text.length <= 255 && areLabels(text);
}

/** As {@link isFqdn}, and its first label may be `*`, or begin with `*` or `*-`. */
export function isWildcardDomain(text: string): boolean {
  if (text === '' || text.length > 255) return false;
  const dot = text.indexOf('.');
  const first = dot === -1 ? text : text.slice(0, dot);
  return first.length <= 63 && wildcardLabel.test(first) && (dot === -1 || areLabels(text.slice(dot + 1)));
}

/** Without the trailing dot, which makes no other name of it, and in lower case. */
export function canonicalHost(text: string): string {
  const host = text.toLowerCase();
  // `*.` is for names that end with a dot, and must not become the host of everything.
  return host.endsWith('.') && host !== '*.' ? host.slice(0, -1) : host;
}

/** The key of a Kubernetes label: a name, with a DNS name and a slash before it or not. */
export function isLabelKey(text: string): boolean {
  const slash = text.indexOf('/');
  const name = text.slice(slash + 1);
  if (name.length > 63 || !labelName.test(name)) return false;
  return slash === -1 || (slash <= 253 && labelPrefix.test(text.slice(0, slash)));
}

/** The value of a label. Istio does not bound its length. */
export function isLabelValue(text: string): boolean {
  return labelValue.test(text);
}

/** The path of a Unix socket, absolute and not a folder, or an abstract name (`@name`). */
export function isUnixPath(text: string): boolean {
  return text.startsWith('@') || (text.startsWith('/') && !text.endsWith('/'));
}

function areLabels(text: string): boolean {
  const parts = text.split('.');
  const last = parts.at(-1) as string;
  if (allDigits.test(last)) return false;
  return parts.every((part, index) => (part === '' && index === parts.length - 1) || label.test(part));
}
