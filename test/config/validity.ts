import type { Test } from 'tap';
import { analyzeConfig } from '../../src/config/analysis/analyze.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { web } from './support.ts';

/** The findings that make YAML invalid for Istio, as `field: message`; none when it is valid. */
export function invalidities(yaml: string): readonly string[] {
  const { documents, problems } = parseYaml(yaml);
  const { findings } = analyzeConfig(documents, { workload: web, problems });
  return findings
    .filter((finding) => finding.class === 'schema')
    .map(({ field = '', message }) => `${field}: ${message}`);
}

/** What the test is about, the resource's spec, and for a bad one where it is wrong. */
export type ValidityCase = readonly [what: string, spec: string, wrong?: RegExp];

/** Checks that each spec is valid, or invalid at the place and for the reason that are given. */
export function checkValidity(
  t: Test,
  header: { readonly apiVersion: string; readonly kind: string; readonly metadata?: string },
  cases: readonly ValidityCase[],
): void {
  const { apiVersion, kind, metadata = '{name: a, namespace: shop}' } = header;
  for (const [what, spec, wrong] of cases) {
    t.test(`${kind}: ${what} is ${wrong === undefined ? 'valid' : 'not valid'}`, async (t) => {
      const found = invalidities(`{apiVersion: ${apiVersion}, kind: ${kind}, metadata: ${metadata}, spec: ${spec}}`);
      if (wrong === undefined) t.same(found, []);
      else t.match(found.join('\n'), wrong);
    });
  }
}
