import { readdirSync } from 'node:fs';
import t from 'tap';
import { compile } from '../../../src/config/compile.ts';
import { readConfigPath } from '../../../src/config/config-files.ts';
import { hostOf, servicePort, writeMesh } from './generate.ts';

t.test('the mesh that is made up is good, and as large as it says', async (t) => {
  const folder = t.testdir();
  const files = writeMesh(folder, { services: 24, rules: 10, files: 3 });
  t.equal(files.length, readdirSync(folder).length);
  const { documents, problems } = await readConfigPath(folder);
  t.same(problems, []);
  t.equal(documents.length, 48);
  const workload = {
    name: 'bench',
    namespace: 'shop',
    serviceAccount: 'bench',
    labels: {},
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  };
  const result = compile(documents, { workload });
  t.ok(result.ok);
  if (!result.ok) return;
  for (let index = 0; index < 24; index++) {
    const host = result.snapshot.hosts.get(`${hostOf(index)}:${servicePort}`);
    t.equal(host?.routes.length, 10, hostOf(index));
  }
  const warnings = result.report.entries.filter(({ warning }) => warning === true);
  t.same(warnings, [], 'every destination is there');
});
