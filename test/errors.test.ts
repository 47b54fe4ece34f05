import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { causeOf, errorTable, MeshError, type MeshErrorCode } from '../src/errors.ts';
import { root, sourceFiles } from './support/source-files.ts';

/** The flags of Envoy's access log (`%RESPONSE_FLAGS%`), as far as a proxy without TCP filters has them. */
const envoyFlags = new Set(
  'DC DF DI DO DPE DT FI IH LH LR NC NFCF NR OM RFCF RL RLSE SI UAEX UC UF UH UMSDR UO UPE UR URX UT'.split(' '),
);

const codes = Object.keys(errorTable) as MeshErrorCode[];

const page = readFileSync(`${root}docs/reference/errors.md`, 'utf8');
const [, afterCodes = '', flagsSection = ''] = page.split(/^## (?:Codes|Flags)$/m);

/** The rows of the table in the docs: cells without back-quotes. */
const rows = afterCodes
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')),
  );

t.test('the documentation has one row for each code, in the order of the table, and no other', async (t) => {
  t.same(
    rows.map(([code]) => code),
    codes,
  );
});

t.test('each row tells the status, the flag, a meaning and what to do', async (t) => {
  for (const [code, status, flag, meaning, remedy, ...more] of rows) {
    const entry = errorTable[code as MeshErrorCode];
    t.equal(status, String(entry?.status), `${code} status`);
    t.equal(flag, entry?.flag, `${code} flag`);
    t.ok((meaning ?? '').length > 20 && (remedy ?? '').length > 20, `${code} is explained`);
    t.same(more, [], `${code} has five cells`);
  }
});

t.test('every status is an HTTP error and every flag is one of Envoy', async (t) => {
  for (const [code, { status, flag }] of Object.entries(errorTable)) {
    t.ok(Number.isInteger(status) && status >= 400 && status < 600, `${code} status`);
    t.ok(flag === '' || envoyFlags.has(flag), `${code} flag`);
  }
});

t.test('the documentation has every flag that a request can end with, and no other', async (t) => {
  const flags = new Set<string>(Object.values(errorTable).flatMap(({ flag }) => (flag === '' ? [] : [flag])));
  for (const { code } of sourceFiles()) {
    for (const line of code.split('\n')) {
      if (!/addFlag\(|\bflags?(:| =) /.test(line)) continue;
      for (const [, flag = ''] of line.matchAll(/'([A-Z]{2,4})'/g)) flags.add(flag);
    }
  }
  const cells = flagsSection.split('\n').flatMap((line) => (line.startsWith('| `') ? [line.split('|')[1] ?? ''] : []));
  const documented = cells.flatMap((cell) => [...cell.matchAll(/`([A-Z]+)`/g)].map(([, flag]) => flag));
  t.same(documented.toSorted(), [...flags].toSorted());
});

t.test('every code is used, and no other is invented', async (t) => {
  const used = new Set<string>();
  for (const { path, code } of sourceFiles()) {
    for (const [word] of code.matchAll(/\bERR_MESH_[A-Z_]+\b/g)) {
      if (path !== 'src/errors.ts') used.add(word);
      t.ok(word in errorTable, `${path}: ${word}`);
    }
  }
  for (const code of codes) t.ok(used.has(code), `${code} is used`);
});

t.test('an error carries what its code says and what the stage knew', async (t) => {
  const cause = new Error('connect ECONNREFUSED');
  const error = new MeshError('ERR_MESH_CONNECT_FAILED', 'no luck', { cause, route: 'r', cluster: 'c', endpoint: 'e' });
  t.match(error, {
    name: 'MeshError',
    message: 'no luck',
    status: 503,
    flag: 'UF',
    route: 'r',
    cluster: 'c',
    endpoint: 'e',
  });
  t.equal(error.cause, cause);
  t.notOk('cause' in new MeshError('ERR_MESH_CLOSED', 'closed'), 'no empty cause');
});

t.test('causeOf finds the first mesh error, or the one with this code', async (t) => {
  const inner = new MeshError('ERR_MESH_PEER_IDENTITY', 'inner');
  const outer = new MeshError('ERR_MESH_TLS_FAILED', 'outer', { cause: new Error('between', { cause: inner }) });
  const thrown = new TypeError('fetch failed', { cause: outer });
  t.equal(causeOf(thrown), outer);
  t.equal(causeOf(thrown, 'ERR_MESH_PEER_IDENTITY'), inner);
  t.equal(causeOf(thrown, 'ERR_MESH_CLOSED'), undefined);
  t.equal(causeOf('not an error'), undefined);
  const elsewhere = runInNewContext('(cause) => new TypeError("fetch failed", { cause })');
  t.equal(causeOf(elsewhere(outer)), outer, 'fetch of a test runner that has a context of its own');
});

t.test('causeOf ends on a ring of causes', async (t) => {
  const ring = new Error('ring');
  ring.cause = ring;
  t.equal(causeOf(ring), undefined);
});
