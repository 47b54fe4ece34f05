/** What is for some domains. */
interface ForDomains {
  /** Lower case. */
  readonly domains: readonly string[];
}

/**
 * Finds what is for an authority, as Envoy does: by its name, then by wildcards at the beginning, then at the end,
 * longest first, then `*`. An authority with a port that none of the names has is looked for without it, too.
 */
export function domainFinder<T extends ForDomains>(all: readonly T[]): (authority: string) => T | undefined {
  const exact = new Map<string, T>();
  const ends: { readonly text: string; readonly value: T }[] = [];
  const beginnings: { readonly text: string; readonly value: T }[] = [];
  let any: T | undefined;
  for (const value of all) {
    for (const domain of value.domains) {
      if (domain === '*') any ??= value;
      else if (domain.startsWith('*')) ends.push({ text: domain.slice(1), value });
      else if (domain.endsWith('*')) beginnings.push({ text: domain.slice(0, -1), value });
      else if (!exact.has(domain)) exact.set(domain, value);
    }
  }
  for (const list of [ends, beginnings]) list.sort((a, b) => b.text.length - a.text.length);
  const find = (name: string): T | undefined =>
    exact.get(name) ??
    // The star stands for something.
    ends.find(({ text }) => name.length > text.length && name.endsWith(text))?.value ??
    beginnings.find(({ text }) => name.length > text.length && name.startsWith(text))?.value;
  return (authority) => {
    const name = authority.toLowerCase();
    const colon = name.lastIndexOf(':');
    const hasPort = colon > name.lastIndexOf(']');
    return find(name) ?? (hasPort ? find(name.slice(0, colon)) : undefined) ?? any;
  };
}
