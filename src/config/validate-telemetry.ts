import { isCelExpression, maxExpression } from '../lib/cel-syntax.ts';
import type { Collector } from './collector.ts';
import type { Resource } from './resource.ts';
import { type Targets, validateTargets } from './validate-targets.ts';
import { parseFractionalMs } from './values.ts';

interface TagOverride {
  readonly operation?: 'UPSERT' | 'REMOVE';
  readonly value?: string;
}

export interface TelemetryBody {
  readonly spec?: Targets & {
    readonly tracing?: readonly { readonly customTags?: Readonly<Record<string, unknown>> }[];
    readonly metrics?: readonly {
      readonly reportingInterval?: string;
      readonly overrides?: readonly { readonly tagOverrides?: Readonly<Record<string, TagOverride>> }[];
    }[];
    readonly accessLogging?: readonly { readonly filter?: { readonly expression?: string } }[];
  };
}

/** The rules of Istio's webhook for a Telemetry resource. */
export function validateTelemetry(resource: Resource<TelemetryBody>, collector: Collector): void {
  const { spec = {} } = resource.body;
  validateTargets(resource, spec, collector);
  for (const [index, { customTags = {} }] of (spec.tracing ?? []).entries()) {
    if (!Object.hasOwn(customTags, '')) continue;
    collector.problem(resource, ['spec', 'tracing', index, 'customTags'], 'has a tag with an empty name');
  }
  for (const [index, { overrides = [], reportingInterval }] of (spec.metrics ?? []).entries()) {
    if (reportingInterval !== undefined && !((parseFractionalMs(reportingInterval) ?? 0) >= 1)) {
      const path = ['spec', 'metrics', index, 'reportingInterval'];
      collector.problem(resource, path, 'must be a duration such as 250ms or 1.5s, at least 1ms', reportingInterval);
    }
    for (const [at, { tagOverrides = {} }] of overrides.entries()) {
      const path = ['spec', 'metrics', index, 'overrides', at, 'tagOverrides'];
      for (const [tag, { operation = 'UPSERT', value = '' }] of Object.entries(tagOverrides)) {
        if (operation === 'UPSERT' && value === '') {
          collector.problem(resource, [...path, tag], 'needs a value for the operation UPSERT');
        } else if (operation === 'REMOVE' && value !== '') {
          collector.problem(resource, [...path, tag, 'value'], 'cannot be set with the operation REMOVE', value);
        }
      }
    }
  }
  for (const [index, { filter }] of (spec.accessLogging ?? []).entries()) {
    if (filter === undefined || isCelExpression(filter.expression ?? '')) continue;
    const path = ['spec', 'accessLogging', index, 'filter', 'expression'];
    const mustBe = `must be an expression in CEL syntax, with at most ${maxExpression} characters`;
    collector.problem(resource, path, mustBe, filter.expression ?? '');
  }
}
