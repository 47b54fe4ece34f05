/** Istio `host.Name`: does one name, perhaps with a leading `*`, cover another, perhaps with one too? */
export function coversHost(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  if (!pattern.startsWith('*')) return pattern === name;
  return name.replace(/^\*/, '').endsWith(pattern.slice(1));
}

/** Is there a name that both stand for? */
export function overlapHosts(a: string, b: string): boolean {
  return coversHost(a, b) || coversHost(b, a);
}
