import { redactText } from '../lib/redact.ts';
import type { CustomTag } from '../model/tracing.ts';
import type { SpanAttributes } from '../pipeline/tracing.ts';

/** Longest value that is taken from a request. */
const maxLength = 256;

/** Adds the attributes that the configuration asks for; headers are those of the request. */
export function addCustomTags(
  attributes: SpanAttributes,
  tags: readonly CustomTag[],
  header: (name: string) => string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): void {
  for (const tag of tags) {
    const value = textOf(tag, header, environment);
    // As in Envoy: a tag without a value is left out.
    if (value !== '') attributes[tag.name] = value;
  }
}

function textOf(
  tag: CustomTag,
  header: (name: string) => string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  switch (tag.kind) {
    case 'literal':
      return tag.value;
    case 'environment':
      return environment[tag.variable] ?? tag.fallback;
    case 'header':
      // What is cut looks like no token any more.
      return redactText((header(tag.header) ?? tag.fallback).slice(0, 4_096)).slice(0, maxLength);
    default:
      return tag satisfies never;
  }
}
