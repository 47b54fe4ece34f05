/** What stands in place of a secret. */
export const redacted = '[redacted]';

const secretName =
  /(^|[_-])authorization$|cookie$|token$|secret$|passw(or)?d$|private[_-]?key(pem)?$|credentials?$|api[_-]?key$/i;

/** Is what stands under this name (of a field, or of a header) a secret? */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}

/**
 * Replaces private keys, bearer tokens and passwords of basic authentication inside a text, and JSON Web Tokens,
 * also those whose end is cut off. In a time that grows with the text and no faster, whatever callers put into it.
 */
export function redactText(text: string): string {
  return text
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, redacted)
    .replace(/\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi, `$1 ${redacted}`)
    .replace(dotted, withoutTokens);
}

/** What tokens are made of, as long as it goes on: no part of it is looked at twice. */
const dotted = /(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]+/g;

function withoutTokens(run: string): string {
  if (!run.includes('eyJ') || !run.includes('.')) return run;
  const parts = run.split('.');
  const kept: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string;
    const payload = parts[i + 1] ?? '';
    const at = payload === '' ? -1 : part.search(/(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]/);
    // With a signature, or with a payload that is JSON as well.
    if (at === -1 || (i + 2 >= parts.length && !payload.startsWith('eyJ'))) {
      kept.push(part);
      continue;
    }
    kept.push(part.slice(0, at) + redacted);
    i += 2;
  }
  return kept.join('.');
}
