/** What stands in place of a secret. */
export const redacted = '[redacted]';

const secretName =
  /(^|[_-])authorization$|cookie$|token$|secret$|passw(or)?d$|private[_-]?key(pem)?$|credentials?$|api[_-]?key$/i;

/** Is what stands under this name (of a field, or of a header) a secret? */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}

/** Replaces private keys, bearer tokens and passwords of basic authentication inside a text. */
export function redactText(text: string): string {
  return text
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, redacted)
    .replace(/\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi, `$1 ${redacted}`)
    .replace(/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, redacted);
}
