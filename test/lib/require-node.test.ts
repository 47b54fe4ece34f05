import { readFileSync } from 'node:fs';
import t from 'tap';
import { nodeProblem, oldestNode } from '../../src/lib/require-node.ts';
import { filesOf, root } from '../support/source-files.ts';

t.test('versions from the oldest supported one on are accepted', async (t) => {
  for (const version of ['v22.19.0', 'v22.20.1', 'v23.0.0', 'v24.21.0', 'v26.1.0', 'v100.0.0', 'v27.0.0-nightly']) {
    t.equal(nodeProblem(version), undefined, version);
  }
});

t.test('older versions are told in one line what is needed', async (t) => {
  for (const version of ['v22.18.9', 'v22.9.0', 'v21.99.0', 'v20.20.2', 'v18.0.0']) {
    t.equal(nodeProblem(version), `inmesh needs Node.js 22.19.0 or newer; this is ${version}`);
  }
});

t.test('every package.json asks for the same version', async (t) => {
  for (const path of filesOf('package.json', 'packages/*/package.json')) {
    const { engines } = JSON.parse(readFileSync(`${root}${path}`, 'utf8'));
    t.equal(engines.node, `>=${oldestNode.replace(/\.0$/, '')}`, path);
  }
});

t.test('every published entry of the core looks at the version first', async (t) => {
  for (const path of filesOf('src/index.ts', 'src/exports/*.ts')) {
    const first = /^(?:import|export)\b[^'"]*['"]([^'"]+)['"]/m.exec(readFileSync(`${root}${path}`, 'utf8'))?.[1];
    t.match(first, /^\.\.?\/lib\/require-node\.ts$/, path);
  }
});
