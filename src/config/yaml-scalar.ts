/** What YAML's core schema takes for a number, and the part of it in which nobody can be mistaken. */
const number =
  /^(?:0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;
export const plainNumber: RegExp = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

/** Plain text as YAML's core schema understands it; nothing when it is a number in which one can be mistaken. */
export function resolvePlain(text: string): unknown {
  const code = text.charCodeAt(0);
  // A digit, or a sign or dot before one.
  if ((code >= 48 && code <= 57) || code === 43 || code === 45 || code === 46) {
    if (plainNumber.test(text)) return Number(text);
    if (number.test(text)) return undefined;
    return text;
  }
  switch (text) {
    case 'true':
    case 'True':
    case 'TRUE':
      return true;
    case 'false':
    case 'False':
    case 'FALSE':
      return false;
    case 'null':
    case 'Null':
    case 'NULL':
    case '~':
      return null;
    default:
      return text;
  }
}
