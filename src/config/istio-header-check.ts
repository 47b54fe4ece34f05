import { fixedRequestHeaders } from '../lib/header-edit.ts';
import { parseHeaderFormat } from '../lib/header-format.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { isAuthorityHeader, isHeaderName } from './istio-headers.ts';
import type { HeaderEditSpec, HeadersSpec, RewriteSpec, VirtualService } from './istio-virtual-service.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const controlCharacter = /[\u0000-\u0008\u000A-\u001F\u007F]/;

/** Istio's rules for edits of headers: which names may be set, added and removed, and what values look like. */
export function checkHeaders(
  resource: VirtualService,
  spec: HeadersSpec | undefined,
  path: Path,
  collector: Collector,
): void {
  if (spec?.request !== undefined) checkEdit(resource, spec.request, true, [...path, 'request'], collector);
  if (spec?.response !== undefined) checkEdit(resource, spec.response, false, [...path, 'response'], collector);
}

function checkEdit(
  resource: VirtualService,
  spec: HeaderEditSpec,
  request: boolean,
  path: Path,
  collector: Collector,
): void {
  for (const field of ['set', 'add'] as const) {
    for (const [name, value] of Object.entries(spec[field] ?? {})) {
      const at = [...path, field, name];
      checkName(resource, name, request && isAuthorityHeader(name), at, collector);
      if (request) warnOfFraming(resource, name, at, collector);
      const problem = valueProblem(value);
      if (problem !== undefined) collector.problem(resource, at, problem, value);
      const { unknown } = parseHeaderFormat(value);
      if (unknown.length > 0 && !isAuthorityHeader(name)) {
        collector.entry(resource, at, 'approximated', `${unknown.join(', ')} is not known here and stays as it is`);
      }
    }
  }
  spec.remove?.forEach((name, index) => {
    checkName(resource, name, false, [...path, 'remove', index], collector);
    if (request) warnOfFraming(resource, name, [...path, 'remove', index], collector);
  });
}

function warnOfFraming(resource: VirtualService, name: string, path: Path, collector: Collector): void {
  if (!fixedRequestHeaders.has(name.toLowerCase())) return;
  collector.warn(resource, path, 'ignored', 'frames the request, and stays as the request needs it');
}

function checkName(resource: VirtualService, name: string, free: boolean, path: Path, collector: Collector): void {
  if (free) return;
  if (name === '') collector.problem(resource, path, 'must be the name of a header', name);
  else if (name.startsWith(':') || isAuthorityHeader(name)) {
    const text = 'must not be Host or a pseudo header; only set and add of a request may have Host or :authority';
    collector.problem(resource, path, text, name);
  } else if (!isHeaderName(name)) {
    // Istio lets it pass, and no HTTP message can have it.
    collector.warn(resource, path, 'ignored', 'is not the name of a header, and is left out');
  }
}

/** The authority can be set in one place only. */
export function checkAuthority(
  resource: VirtualService,
  rewrite: RewriteSpec | undefined,
  headers: HeadersSpec | undefined,
  path: Path,
  collector: Collector,
): void {
  let current = rewrite?.authority ?? '';
  for (const field of ['set', 'add'] as const) {
    for (const [name, value] of Object.entries(headers?.request?.[field] ?? {})) {
      if (!isAuthorityHeader(name)) continue;
      if (current !== '') {
        const at = [...path, 'headers', 'request', field, name];
        collector.problem(resource, at, `must not set the authority again: it is ${current} already`, value);
        return;
      }
      current = value;
    }
  }
}

/**
 * Envoy's notation: `%%` is a percent sign, `%NAME%`, `%NAME(argument)%` and `%NAME(["a", "b"])%` stand for something
 * else. What is wrong with a value, with the same result as in Istio.
 */
export function valueProblem(value: string): string | undefined {
  if (controlCharacter.test(value)) return 'must not have control characters';
  let at = value.indexOf('%');
  while (at !== -1) {
    const end = value[at + 1] === '%' ? at + 2 : endOfVariable(value, at + 1);
    if (end === undefined) return 'must have its percent signs in pairs; a plain one is written %%';
    at = value.indexOf('%', end);
  }
  return undefined;
}

/** Place behind the `%` that closes a variable; nothing when it is not closed. */
function endOfVariable(text: string, from: number): number | undefined {
  let at = from;
  while (at < text.length && text[at] !== '%' && text[at] !== '(') at++;
  if (at === text.length) return undefined;
  if (text[at] === '%') return at + 1;
  at = skipSpaces(text, at + 1);
  // An argument without quotes has at least one character, whatever that is.
  const end = text[at] === '[' ? endOfList(text, at + 1) : endOfText(text, at + 1);
  if (end === undefined) return undefined;
  at = skipSpaces(text, end);
  return text[at] === '%' ? at + 1 : undefined;
}

/** Place behind the `)` after a list of texts in quotes. */
function endOfList(text: string, from: number): number | undefined {
  const at = skipSpaces(text, from);
  return text[at] === '"' ? endOfText(text, at + 1) : undefined;
}

/** Place behind the `)` that ends a text; a quote ends it too, and then a list goes on. */
function endOfText(text: string, from: number): number | undefined {
  for (let at = from; at < text.length; at++) {
    const character = text[at];
    if (character === '\\') at++;
    else if (character === ')') return at + 1;
    else if (character === '"') return endOfItem(text, at + 1);
  }
  return undefined;
}

function endOfItem(text: string, from: number): number | undefined {
  const at = skipSpaces(text, from);
  if (text[at] === ',') return endOfList(text, at + 1);
  if (text[at] !== ']') return undefined;
  const end = skipSpaces(text, at + 1);
  return text[end] === ')' ? end + 1 : undefined;
}

function skipSpaces(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ') at++;
  return at;
}
