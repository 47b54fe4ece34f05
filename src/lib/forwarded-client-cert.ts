import { MeshError } from '../errors.ts';

/** Envoy's header that tells an application who called, as the certificate of the caller proves. */
export const forwardedClientCertHeader = 'x-forwarded-client-cert';

/** What of a client certificate is told (Istio `setCurrentClientCertDetails`); `By` and `Hash` always are. */
export interface ClientCertDetails {
  /** `Subject`, also when it is empty. Default true. */
  readonly subject: boolean;
  /** `URI`: the SPIFFE ID. Default true. */
  readonly uri: boolean;
  /** `DNS`, one for each name. Default true. */
  readonly dns: boolean;
  /** `Cert`: the leaf as URL-encoded PEM. Default false. */
  readonly cert: boolean;
  /** `Chain`: leaf and intermediates as URL-encoded PEM. Default false. */
  readonly chain: boolean;
}

/** Istio's defaults. */
export const defaultClientCertDetails: ClientCertDetails = {
  subject: true,
  uri: true,
  dns: true,
  cert: false,
  chain: false,
};

/** One element of `x-forwarded-client-cert`: what one hop said about who called it. */
export interface ForwardedClientCert {
  /** URI names in the certificate of the hop that says this (`By`). */
  readonly by: readonly string[];
  /** SHA-256 of the certificate of the caller, hex (`Hash`). */
  readonly hash?: string;
  /** The certificate of the caller, PEM (`Cert`). */
  readonly cert?: string;
  /** Its certificate and the authorities that it sent, PEM (`Chain`). */
  readonly chain?: string;
  /** Its subject in the form of RFC 2253, '' for one without a name (`Subject`). */
  readonly subject?: string;
  /** Its URI names; of a workload of a mesh its SPIFFE ID (`URI`). */
  readonly uris: readonly string[];
  /** Its DNS names (`DNS`). */
  readonly dns: readonly string[];
}

/** Longest value that is read, in characters: more than any header block that the mesh takes. */
const maxLength = 65_536;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const semicolon = 0x3b;

/** Told of each pair, in order; `element` counts from 0. Values are as they were written, without the quotes. */
type Visit = (element: number, key: string, value: string, quoted: boolean) => void;

/** Walks over the pairs of a value once, from left to right. Returns what is wrong with it, or nothing. */
function scan(text: string, visit: Visit | undefined): string | undefined {
  if (text.length > maxLength) return `has ${text.length} characters, ${maxLength} are allowed`;
  let element = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === comma) element++;
    if (code === comma || code === semicolon || isSpace(code)) {
      at++;
      continue;
    }
    const equals = text.indexOf('=', at);
    const key = equals === -1 ? '' : text.slice(at, equals);
    if (!isWord(key)) return `must be pairs of a name, = and a value; there is none at character ${at + 1}`;
    const from = equals + 1;
    const quoted = text.charCodeAt(from) === quote;
    const end = quoted ? endOfQuoted(text, from + 1) : endOfPlain(text, from);
    if (end === -1) return `has a quote at character ${from + 1} that nothing closes`;
    visit?.(element, key, quoted ? text.slice(from + 1, end) : text.slice(from, end).trimEnd(), quoted);
    at = quoted ? end + 1 : end;
    if (quoted && !endsPair(text, at)) return `has text after the closing quote at character ${end + 1}`;
  }
  return undefined;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** ASCII letters only, and not many: the names of keys. */
function isWord(key: string): boolean {
  if (key.length === 0 || key.length > 32) return false;
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i) | 0x20;
    if (code < 0x61 || code > 0x7a) return false;
  }
  return true;
}

/** A backslash takes the next character along: `\"` does not close, and the second of `\\"` does. */
function endOfQuoted(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at;
    if (code === backslash) at++;
  }
  return -1;
}

function endOfPlain(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === comma || code === semicolon) return at;
    // A value that needs quotes has them around it; a quote inside would be read differently by others.
    if (code === quote) return -1;
  }
  return text.length;
}

function endsPair(text: string, from: number): boolean {
  let at = from;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at === text.length || text.charCodeAt(at) === comma || text.charCodeAt(at) === semicolon;
}

/** Would every reader see the same elements, and one that is appended as one of its own? */
export function isForwardedClientCert(value: string): boolean {
  return scan(value, undefined) === undefined;
}

/**
 * Reads `x-forwarded-client-cert`: elements in the order of the hops, the last one of the hop before
 * this process. Names of keys in any case; keys that Envoy does not document are passed over. Quotes
 * are honoured, so that nothing inside of a value can pretend to be a pair or an element.
 *
 * What it says is worth as much as who wrote it: behind the mesh's own server only what the
 * configured mode lets through (docs/inbound.md).
 *
 * @throws MeshError `ERR_MESH_BAD_REQUEST` when it is longer than 65,536 characters or not in this form.
 * @example
 * parseForwardedClientCert('By=spiffe://td/b;Hash=ab12;Subject="";URI=spiffe://td/a').at(-1)?.uris[0]; // 'spiffe://td/a'
 */
export function parseForwardedClientCert(value: string): readonly ForwardedClientCert[] {
  const found: Writable[] = [];
  let last = -1;
  const problem = scan(value, (element, key, written, quoted) => {
    if (element !== last) found.push({ by: [], uris: [], dns: [] });
    last = element;
    const current = found.at(-1) as Writable;
    const text = quoted ? written.replaceAll('\\"', '"') : written;
    switch (key.toLowerCase()) {
      case 'by':
        current.by.push(text);
        break;
      case 'uri':
        // The key is there also when there is no such name.
        if (text !== '') current.uris.push(text);
        break;
      case 'dns':
        current.dns.push(text);
        break;
      case 'hash':
        current.hash = text;
        break;
      case 'subject':
        current.subject = text;
        break;
      case 'cert':
        current.cert = decoded(text);
        break;
      case 'chain':
        current.chain = decoded(text);
        break;
    }
  });
  if (problem === undefined) return found;
  throw new MeshError('ERR_MESH_BAD_REQUEST', `${forwardedClientCertHeader} ${problem}`);
}

type Writable = {
  -readonly [Key in keyof ForwardedClientCert]: Key extends 'by' | 'uris' | 'dns' ? string[] : ForwardedClientCert[Key];
};

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    const message = `${forwardedClientCertHeader} has a certificate that is not URL-encoded`;
    throw new MeshError('ERR_MESH_BAD_REQUEST', message, { cause });
  }
}
