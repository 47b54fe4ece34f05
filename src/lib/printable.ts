/**
 * What others say, for logs and messages of ours: without characters that control or that nobody sees,
 * which could make two lines of one or turn its direction, and not at any length. The note at the end that grpc-js leaves empty is left out.
 */
export function printable(text: string, maxLength = 500): string {
  return text
    .replace(/\s*Resolution note:\s*$/, '')
    .slice(0, maxLength)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
