import { type HeaderEdit, type HeaderEdits, type HeaderValue, unknownHeaderOperators } from 'inmesh/model';
import type { HeaderValueOption } from '../proto/envoy/base.ts';
import { ResourceError } from '../resources.ts';
import type { Remarks } from './outbound-remarks.ts';

/** The header fields that route configurations, virtual hosts, routes and weighted clusters have alike. */
export interface HeaderFields {
  readonly request_headers_to_add: readonly HeaderValueOption[];
  readonly request_headers_to_remove: readonly string[];
  readonly response_headers_to_add: readonly HeaderValueOption[];
  readonly response_headers_to_remove: readonly string[];
}

/** What names of headers are made of (RFC 9110 section 5.6.2). */
export function isToken(name: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name);
}

/** What one message does to headers; nothing when it does nothing. */
export function headerEditsOf(message: HeaderFields, path: string, remarks: Remarks): HeaderEdits | undefined {
  const prefix = path === '' ? '' : `${path}.`;
  const request = editOf(
    message.request_headers_to_add,
    message.request_headers_to_remove,
    `${prefix}request_headers_to_`,
    remarks,
  );
  const response = editOf(
    message.response_headers_to_add,
    message.response_headers_to_remove,
    `${prefix}response_headers_to_`,
    remarks,
  );
  return editsOf(request, response);
}

function editsOf(request: HeaderEdit | undefined, response: HeaderEdit | undefined): HeaderEdits | undefined {
  if (request === undefined && response === undefined) return undefined;
  return { ...(request === undefined ? {} : { request }), ...(response === undefined ? {} : { response }) };
}

function editOf(
  values: readonly HeaderValueOption[],
  removed: readonly string[],
  path: string,
  remarks: Remarks,
): HeaderEdit | undefined {
  const remove = removed.map((name, index) => headerName(name, `${path}remove[${index}]`));
  const set: HeaderValue[] = [];
  const add: HeaderValue[] = [];
  for (const [index, option] of values.entries()) {
    const next = oneOption(option, `${path}add[${index}]`, remarks);
    if (next !== undefined) (next.replaces ? set : add).push(next.value);
  }
  const edit = { set, add, remove };
  return isEmpty(edit) ? undefined : edit;
}

/** A value that replaces those that are there, or one more. */
interface OneValue {
  readonly replaces: boolean;
  readonly value: HeaderValue;
}

function oneOption(option: HeaderValueOption, path: string, remarks: Remarks): OneValue | undefined {
  const { append, append_action: action, header, keep_empty_value: keepEmpty } = option;
  if (header === undefined) throw new ResourceError(`${path}.header`, 'is missing');
  const name = headerName(header.key, `${path}.header.key`);
  const raw = header.raw_value;
  const text =
    raw === undefined || raw.length === 0 ? Buffer.from(header.value, 'utf8').toString('latin1') : latin1(raw);
  if (/[\0\r\n]/.test(text)) throw new ResourceError(`${path}.header.value`, 'must not have line breaks');
  for (const operator of unknownHeaderOperators(text)) {
    remarks.ignored(`${path}.header.value`, `${operator} is not known here: it is sent as it is written`);
  }
  const [replaces, when] = whatOf(append, action, path);
  if (text === '' && !keepEmpty) return undefined;
  // Each request has an authority.
  if (name === 'host') return when === 'absent' || text === '' ? undefined : { replaces, value: { name, value: text } };
  const value: HeaderValue = {
    name,
    value: text,
    ...(when === undefined ? {} : { when }),
    ...(keepEmpty ? { keepEmpty } : {}),
  };
  return { replaces, value };
}

/** Envoy's `append_action`, in place of which its older `append` counts where it is written. */
function whatOf(
  append: boolean | undefined,
  action: HeaderValueOption['append_action'],
  path: string,
): readonly [replaces: boolean, when?: HeaderValue['when']] {
  if (append !== undefined) return [!append];
  switch (action) {
    case 'APPEND_IF_EXISTS_OR_ADD':
      return [false];
    case 'ADD_IF_ABSENT':
      return [false, 'absent'];
    case 'OVERWRITE_IF_EXISTS_OR_ADD':
      return [true];
    case 'OVERWRITE_IF_EXISTS':
      return [true, 'present'];
    default:
      throw new ResourceError(`${path}.append_action`, 'expected one of its four values', { value: action });
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

function headerName(name: string, path: string): string {
  const lower = name.toLowerCase();
  if (lower === ':authority' || lower === 'host') return 'host';
  if (!isToken(name)) throw new ResourceError(path, 'expected the name of a header', { value: name });
  return lower;
}

/**
 * Two levels of edits as one: Envoy applies that of the weighted cluster first, then those of the
 * route, the virtual host and the route configuration, each over what those before it did.
 */
export function allEdits(first: HeaderEdits | undefined, then: HeaderEdits | undefined): HeaderEdits | undefined {
  if (first === undefined || then === undefined) return first ?? then;
  return editsOf(later(first.request, then.request), later(first.response, then.response));
}

function later(first: HeaderEdit | undefined, then: HeaderEdit | undefined): HeaderEdit | undefined {
  return first === undefined || then === undefined ? (first ?? then) : afterwards(first, then);
}

function afterwards(first: HeaderEdit, then: HeaderEdit): HeaderEdit {
  const removed = new Set(then.remove);
  // What only counts where a header is there, or is not, finds those that the level before it has set.
  const settled = (values: readonly HeaderValue[]): readonly HeaderValue[] =>
    values.flatMap((value): readonly HeaderValue[] => {
      const { when, ...always } = value;
      if (when === undefined || removed.has(value.name) || !leaves(first, value.name)) return [value];
      return when === 'present' ? [always] : [];
    });
  const set = settled(then.set);
  // A value with `%…%` in it may turn out to be nothing, and then leaves the header as it was.
  const replaced = new Set(
    set.filter(({ value, when }) => when === undefined && !value.includes('%')).map(({ name }) => name),
  );
  const stays = ({ name }: HeaderValue): boolean => !removed.has(name) && !replaced.has(name);
  return {
    set: [...first.set.filter(stays), ...set],
    add: [...first.add.filter(stays), ...settled(then.add)],
    remove: [...new Set([...first.remove, ...then.remove])],
  };
}

/** Whether a header is there in any case after these. */
function leaves({ add, set }: HeaderEdit, name: string): boolean {
  return [...set, ...add].some(
    (each) => each.name === name && each.when !== 'present' && (each.keepEmpty === true || !each.value.includes('%')),
  );
}

function isEmpty({ add, remove, set }: HeaderEdit): boolean {
  return add.length + remove.length + set.length === 0;
}

/**
 * Takes the authority out of edits of requests: it is rewritten, and no header among others.
 */
export function withoutAuthority(edits: HeaderEdits | undefined): {
  readonly edits?: HeaderEdits;
  readonly authority?: string;
} {
  const { request, response } = edits ?? {};
  if (request === undefined) return edits === undefined ? {} : { edits };
  const isHost = ({ name }: HeaderValue): boolean => name === 'host';
  const authority = (request.set.findLast(isHost) ?? request.add.findLast(isHost))?.value;
  const rest = {
    set: request.set.filter((each) => !isHost(each)),
    add: request.add.filter((each) => !isHost(each)),
    remove: request.remove.filter((name) => name !== 'host'),
  };
  const left = editsOf(isEmpty(rest) ? undefined : rest, response);
  return { ...(left === undefined ? {} : { edits: left }), ...(authority === undefined ? {} : { authority }) };
}
