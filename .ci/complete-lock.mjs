// Adds to package-lock.json the platform packages that npm left out of it.
//
// npm drops an optional dependency from the lock file when the registry it talked to does not
// carry it (a mirror with Linux binaries only, say), and `npm ci` then refuses the lock file
// everywhere. Run this after `npm install`; `--check` only reports. Such an entry has no checksum,
// because the package could not be seen from here; `npm install` on a full registry adds it.

import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8'));
const packages = lock.packages;
const added = [];

/** Is `name` found from the package at `from`, the way Node looks it up? */
function isResolved(from, name) {
  for (let at = from; ; ) {
    if (packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === '') return false;
    at = at.includes('/node_modules/') ? at.slice(0, at.lastIndexOf('/node_modules/')) : '';
  }
}

for (const [from, entry] of Object.entries({ ...packages })) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isResolved(from, name)) continue;
    const words = name.split(/[/-]/);
    const os = words.find((word) => ['android', 'darwin', 'freebsd', 'linux', 'win32'].includes(word));
    const cpu = words.find((word) => ['arm', 'arm64', 'ia32', 'x64', 'ppc64', 's390x', 'riscv64'].includes(word));
    if (os === undefined || cpu === undefined || !/^\d+\.\d+\.\d+/.test(version)) {
      console.error(`package-lock.json: ${from} needs ${name} ${version}, which is missing and names no platform`);
      process.exit(1);
    }
    packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(words.includes('musl') ? { libc: ['musl'] } : {}),
      ...(entry.license === undefined ? {} : { license: entry.license }),
      optional: true,
      os: [os],
      ...(entry.engines === undefined ? {} : { engines: entry.engines }),
    };
    added.push(`${name} ${version}`);
  }
}

if (added.length > 0 && process.argv.includes('--check')) {
  console.error(`package-lock.json lacks ${added.join(', ')}; run node .ci/complete-lock.mjs`);
  process.exit(1);
}
if (added.length > 0) {
  lock.packages = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en')));
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added to package-lock.json: ${added.join(', ')}`);
}
