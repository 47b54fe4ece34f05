import { fixedRequestHeaders, type HeaderChanges } from '../lib/header-edit.ts';
import { type FormatContext, type FormatPart, formatHeader, parseHeaderFormat } from '../lib/header-format.ts';
import type { HeaderEdit, HeaderEdits, HeaderValue } from '../model/route.ts';

/** One level of header edits, compiled. */
export interface CompiledEdit {
  readonly of: 'request' | 'response';
  readonly remove: readonly string[];
  /** Finished, when no value depends on the request; else nothing. */
  readonly fixed: HeaderChanges | undefined;
  readonly set: readonly CompiledValue[];
  readonly add: readonly CompiledValue[];
}

interface CompiledValue extends Pick<HeaderValue, 'name' | 'when' | 'keepEmpty'> {
  readonly parts: readonly FormatPart[];
}

/** What is done to the headers of a route's requests and responses: levels, in order. */
export interface CompiledEdits {
  readonly request: readonly CompiledEdit[];
  readonly response: readonly CompiledEdit[];
  /** The authority to send, as `headers` and not `rewrite` says; nothing: it stays. */
  readonly authority: string | undefined;
}

/**
 * The edits of one destination. Beside others, a destination's edits come first and the route's may
 * override them. Alone, both are one level in which the destination's come last: that is what istiod
 * makes of a route without a split.
 */
export function compileEdits(
  route: HeaderEdits | undefined,
  destination: HeaderEdits | undefined,
  isAlone: boolean,
): CompiledEdits {
  const levels = (of: 'request' | 'response'): readonly CompiledEdit[] => {
    const given = isAlone ? [merge(route?.[of], destination?.[of])] : [destination?.[of], route?.[of]];
    return given.flatMap((edit) => compileEdit(edit, of) ?? []);
  };
  return {
    request: levels('request'),
    response: levels('response'),
    authority: authorityIn(route?.request) ?? authorityIn(destination?.request),
  };
}

/** One level ready to be applied. `context` is called only when a value depends on the request. */
export function changesOf(edit: CompiledEdit, context: () => FormatContext): HeaderChanges {
  if (edit.fixed !== undefined) return edit.fixed;
  const at = edit.remove.length === 0 ? context() : withoutRemoved(context(), edit);
  return { remove: edit.remove, set: finish(edit.set, at, edit.of), add: finish(edit.add, at, edit.of) };
}

/** Envoy removes before it looks: a value cannot refer to a header that its own level removes. */
function withoutRemoved(context: FormatContext, { of, remove }: CompiledEdit): FormatContext {
  const hide = (read: FormatContext['requestHeader']): FormatContext['requestHeader'] => {
    return (name) => (remove.includes(name) ? undefined : read(name));
  };
  return of === 'request'
    ? { ...context, requestHeader: hide(context.requestHeader) }
    : { ...context, responseHeader: hide(context.responseHeader) };
}

function finish(values: readonly CompiledValue[], context: FormatContext, of: CompiledEdit['of']): readonly string[] {
  const read = of === 'request' ? context.requestHeader : context.responseHeader;
  return values.flatMap(({ keepEmpty, name, parts, when }) => {
    if (when !== undefined && (read(name) === undefined) === (when === 'present')) return [];
    const value = formatHeader(parts, context);
    // Envoy leaves a header alone when nothing is left of its value.
    return value === '' && keepEmpty !== true ? [] : [name, value];
  });
}

function merge(route: HeaderEdit | undefined, destination: HeaderEdit | undefined): HeaderEdit | undefined {
  if (route === undefined || destination === undefined) return route ?? destination;
  return {
    remove: [...route.remove, ...destination.remove],
    set: [...route.set, ...destination.set],
    add: [...route.add, ...destination.add],
  };
}

function compileEdit(edit: HeaderEdit | undefined, of: 'request' | 'response'): CompiledEdit | undefined {
  if (edit === undefined) return undefined;
  const mayChange = (name: string): boolean =>
    name !== 'host' && !name.startsWith(':') && !(of === 'request' && fixedRequestHeaders.has(name));
  const compile = (values: readonly HeaderValue[]): readonly CompiledValue[] =>
    values
      .filter(({ keepEmpty, name, value }) => (value !== '' || keepEmpty === true) && mayChange(name))
      .map(({ value, ...of }) => ({ ...of, parts: parseHeaderFormat(value).parts }));
  const remove = edit.remove.filter(mayChange);
  const set = compile(edit.set);
  const add = compile(edit.add);
  if (remove.length + set.length + add.length === 0) return undefined;
  const isFixed = [...set, ...add].every(
    ({ parts, when }) => when === undefined && parts.every(({ kind }) => kind === 'text'),
  );
  const fixed = isFixed ? { remove, set: finish(set, noContext, of), add: finish(add, noContext, of) } : undefined;
  return { of, remove, fixed, set, add };
}

/** `Host` and `:authority` among the headers of a request; those that are set come before those added. */
function authorityIn(edit: HeaderEdit | undefined): string | undefined {
  const find = (values: readonly HeaderValue[]): string | undefined =>
    values.findLast(({ name, value }) => (name === 'host' || name === ':authority') && value !== '')?.value;
  return edit === undefined ? undefined : (find(edit.set) ?? find(edit.add));
}

const noContext: FormatContext = {
  requestHeader: () => undefined,
  responseHeader: () => undefined,
  status: 0,
  routeName: '',
  startTimeMs: () => 0,
};
