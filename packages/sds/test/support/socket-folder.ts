import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A folder of a short name, gone after the test: paths of sockets have little room. */
export function socketFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sds-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
