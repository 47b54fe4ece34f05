/** Longest request id that is kept. */
const maxLength = 128;

/** Printable ASCII without spaces and commas, not too long: safe in logs and headers. */
export function isRequestId(text: string): boolean {
  if (text === '' || text.length > maxLength) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x21 || code > 0x7e || code === 0x2c) return false;
  }
  return true;
}
