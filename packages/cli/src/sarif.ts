import { pathToFileURL } from 'node:url';
import { catalogue, type Finding, type FindingCode, type Severity } from 'inmesh/config';

const levels: Readonly<Record<Severity, string>> = { error: 'error', warning: 'warning', info: 'note' };

/**
 * Findings as SARIF 2.1.0 (OASIS), which code hosts and editors show at their places. Files are
 * named as they were given, relative to the working directory.
 */
export function sarifOf(findings: readonly Finding[]): object {
  const codes = [...new Set(findings.map(({ code }) => code))].sort();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'inmesh', rules: codes.map(ruleOf) } },
        columnKind: 'utf16CodeUnits',
        results: findings.map((finding) => resultOf(finding, codes.indexOf(finding.code))),
      },
    ],
  };
}

function ruleOf(id: FindingCode): object {
  const { name, class: about, severity } = catalogue[id];
  return {
    id,
    name,
    shortDescription: { text: name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, ' ') },
    help: { text: `docs/reference/analysis.md#${id.toLowerCase()}` },
    defaultConfiguration: { level: levels[severity] },
    properties: { tags: [about] },
  };
}

function resultOf(finding: Finding, ruleIndex: number): object {
  const { code, severity, message, resource, file, line, column, field, value, link } = finding;
  const where = [resource, field].filter((part) => part !== undefined && part !== '').join(': ');
  const region = line === undefined ? {} : { region: { startLine: line, startColumn: column ?? 1 } };
  const physical =
    file === undefined ? {} : { physicalLocation: { artifactLocation: { uri: uriOf(file) }, ...region } };
  const name = [resource, field].filter((part) => part !== undefined && part !== '').join('/');
  const logical = name === '' ? {} : { logicalLocations: [{ fullyQualifiedName: name, kind: 'resource' }] };
  return {
    ruleId: code,
    ruleIndex,
    level: levels[severity],
    message: { text: `${where === '' ? '' : `${where}: `}${message}${value === undefined ? '' : `, got ${value}`}` },
    ...(file === undefined && name === '' ? {} : { locations: [{ ...physical, ...logical }] }),
    properties: { class: finding.class, link },
  };
}

/** A relative path stays relative; an absolute one becomes a file URI. */
function uriOf(file: string): string {
  if (/^([/\\]|[A-Za-z]:)/.test(file)) return pathToFileURL(file).href;
  return file.split(/[/\\]/).map(encodeURIComponent).join('/');
}
