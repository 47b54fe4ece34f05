import type { HeaderEdit, HeaderEdits, HeaderValue } from '../model/route.ts';
import type { HeaderEditSpec, HeadersSpec } from './istio-virtual-service.ts';

/** Edits of headers, with the authority taken out: Envoy rewrites that by itself. */
export interface CompiledHeaders {
  readonly edits?: HeaderEdits;
  /** From `Host` or `:authority` in `request.set`, else in `request.add`. */
  readonly authority?: string;
}

const empty: HeaderEdit = { set: [], add: [], remove: [] };

export function compileHeaders(spec: HeadersSpec | undefined): CompiledHeaders {
  if (spec === undefined) return {};
  const { set, add } = spec.request ?? {};
  const authority = authorityIn(set) ?? authorityIn(add);
  const edits = editsOf(compileEdit(spec.request), compileEdit(spec.response));
  return { ...(edits === undefined ? {} : { edits }), ...(authority === undefined ? {} : { authority }) };
}

/**
 * The edits of a route and of its only destination as one. Envoy then has one list of them: all removals, then all that
 * is set, the destination's last, then all that is added.
 */
export function mergeEdits(route: HeaderEdits | undefined, only: HeaderEdits | undefined): HeaderEdits | undefined {
  if (route === undefined) return only;
  if (only === undefined) return route;
  return editsOf(mergeEdit(route.request, only.request), mergeEdit(route.response, only.response));
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** A name that a header can have (RFC 9110). */
export function isHeaderName(name: string): boolean {
  return token.test(name);
}

/** What Istio takes for the name of a header where headers are only looked at: a comma is allowed too. */
export function isHeaderPattern(name: string): boolean {
  return token.test(name.replaceAll(',', '-'));
}

/** Does a request header stand for the authority? */
export function isAuthorityHeader(name: string): boolean {
  const lower = name.toLowerCase();
  return lower === ':authority' || lower === 'host';
}

function editsOf(request: HeaderEdit | undefined, response: HeaderEdit | undefined): HeaderEdits | undefined {
  if (request === undefined && response === undefined) return undefined;
  return { ...(request === undefined ? {} : { request }), ...(response === undefined ? {} : { response }) };
}

function authorityIn(values: Readonly<Record<string, string>> = {}): string | undefined {
  const found = Object.entries(values).findLast(([name]) => isAuthorityHeader(name))?.[1];
  return found === undefined || found === '' ? undefined : found;
}

function compileEdit(spec: HeaderEditSpec | undefined): HeaderEdit | undefined {
  if (spec === undefined) return undefined;
  const edit = {
    set: valuesOf(spec.set),
    add: valuesOf(spec.add),
    remove: (spec.remove ?? []).filter(isHeaderName).map((name) => name.toLowerCase()),
  };
  return edit.set.length + edit.add.length + edit.remove.length === 0 ? undefined : edit;
}

function valuesOf(values: Readonly<Record<string, string>> = {}): readonly HeaderValue[] {
  return (
    Object.entries(values)
      // Envoy leaves out a header whose value is empty.
      .filter(([name, value]) => isHeaderName(name) && !isAuthorityHeader(name) && value !== '')
      // Node writes a character of a header as one byte; on the wire it shall be UTF-8, as from Envoy.
      .map(([name, value]) => ({
        name: name.toLowerCase(),
        value: Buffer.from(value, 'utf8').toString('latin1'),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  );
}

function mergeEdit(first: HeaderEdit = empty, last: HeaderEdit = empty): HeaderEdit | undefined {
  // A value with `%…%` in it may turn out to be nothing, and then leaves the header as it was.
  const replaced = new Set(last.set.filter(({ value }) => !value.includes('%')).map(({ name }) => name));
  const kept = ({ name }: HeaderValue): boolean => !replaced.has(name);
  const edit = {
    set: [...first.set.filter(kept), ...last.set],
    add: [...first.add, ...last.add],
    remove: [...new Set([...first.remove, ...last.remove])],
  };
  return edit.set.length + edit.add.length + edit.remove.length === 0 ? undefined : edit;
}
