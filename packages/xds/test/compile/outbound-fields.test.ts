import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { clusterSchema } from '../../src/proto/envoy/cluster.ts';
import { aggregateClusterConfigSchema } from '../../src/proto/envoy/cluster-parts.ts';
import { clusterLoadAssignmentSchema } from '../../src/proto/envoy/endpoint.ts';
import { corsPolicySchema, httpFaultSchema } from '../../src/proto/envoy/http-filters.ts';
import { httpProtocolOptionsSchema } from '../../src/proto/envoy/http-protocol-options.ts';
import * as balancers from '../../src/proto/envoy/lb-policies.ts';
import { proxyProtocolUpstreamTransportSchema } from '../../src/proto/envoy/proxy-protocol.ts';
import { routeConfigurationSchema } from '../../src/proto/envoy/route-config.ts';
import { uriTemplateMatchConfigSchema, uriTemplateRewriteConfigSchema } from '../../src/proto/envoy/route-match.ts';
import { tcpProxySchema } from '../../src/proto/envoy/tcp-proxy.ts';
import { upstreamTlsContextSchema } from '../../src/proto/envoy/tls-context.ts';
import type { Schema } from '../../src/proto/schema.ts';
import { fieldNotes } from '../support/field-notes.ts';

const page = join(import.meta.dirname, '../../../../docs/reference/xds-outbound.md');
const begin =
  '<!-- fields: written by UPDATE_DOCS=1 npx tap packages/xds/test/compile/outbound-fields.test.ts --disable-coverage -->\n';
const end = '<!-- end of fields -->';

const topics: Readonly<Record<string, readonly Schema<never>[]>> = {
  'Routes (RDS)': [
    routeConfigurationSchema,
    uriTemplateMatchConfigSchema,
    uriTemplateRewriteConfigSchema,
    httpFaultSchema,
    corsPolicySchema,
    tcpProxySchema,
  ],
  'Clusters (CDS)': [
    clusterSchema,
    aggregateClusterConfigSchema,
    httpProtocolOptionsSchema,
    upstreamTlsContextSchema,
    proxyProtocolUpstreamTransportSchema,
    ...Object.values(balancers).filter((each): each is never => typeof each === 'object'),
  ],
  'Endpoints (EDS)': [clusterLoadAssignmentSchema],
} as never;

/** Messages that are reached, each under the first topic that has it. */
function messages(): readonly (readonly [topic: string, all: readonly Schema<unknown>[]])[] {
  const seen = new Set<string>();
  const visit = (schema: Schema<unknown>, into: Schema<unknown>[]): void => {
    if (seen.has(schema.name)) return;
    seen.add(schema.name);
    into.push(schema);
    for (const [, { kind }] of schema.fields) if (kind.schema !== undefined) visit(kind.schema(), into);
  };
  return Object.entries(topics).map(([topic, roots]) => {
    const all: Schema<unknown>[] = [];
    for (const root of roots) visit(root, all);
    return [topic, all.filter(({ name }) => !name.startsWith('google.protobuf'))] as const;
  });
}

const code = (name: string): string => `\`${name}\``;

function row(schema: Schema<unknown>): string {
  const notes = fieldNotes[schema.name] ?? {};
  const fields = schema.fields.map(([name]) => name);
  const done = fields.filter((name) => notes[name] === undefined);
  const differs = fields.flatMap((name) => {
    const note = notes[name];
    if (note === undefined || (note.status === 'ignored' && note.note === '')) return [];
    const what = note.status === 'never' ? 'no request matches' : note.status;
    return `${code(name)} ${what}${note.note === '' ? '' : `: ${note.note}`}`;
  });
  const silent = fields.filter((name) => notes[name]?.status === 'ignored' && notes[name]?.note === '');
  const ignored = [...silent, ...schema.ignored.values()].map(code);
  return `| ${code(schema.name.replace(/^envoy\./, ''))} | ${done.map(code).join(' ')} | ${differs.join('<br>')} | ${ignored.join(' ')} |`;
}

t.test('the page says what the tables of fields say', async (t) => {
  const text = readFileSync(page, 'utf8');
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  t.ok(from !== -1 && to > from, 'the page has its two marks');
  const tables = messages().map(([topic, all]) =>
    [`## ${topic}`, '', '| message | done | differs | ignored |', '|---|---|---|---|', ...all.map(row)].join('\n'),
  );
  const wanted = `\n${tables.join('\n\n')}\n\n`;
  if (process.env['UPDATE_DOCS'] === '1')
    writeFileSync(page, text.slice(0, from + begin.length) + wanted + text.slice(to));
  else t.equal(text.slice(from + begin.length, to), wanted, 'or run the command that is in the page');
});

t.test('every remark is about a field that is read', async (t) => {
  const known = new Map(messages().flatMap(([, all]) => all.map((schema) => [schema.name, schema] as const)));
  for (const [name, notes] of Object.entries(fieldNotes)) {
    const fields = known.get(name)?.fields.map(([field]) => field) ?? [];
    t.ok(fields.length > 0 || known.has(name), name);
    for (const field of Object.keys(notes)) t.ok(fields.includes(field), `${name}.${field}`);
  }
});
