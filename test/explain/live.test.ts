import t from 'tap';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, MeshError } from '../../src/index.ts';
import { resourceYaml, serviceYaml, web } from '../config/support.ts';
import { recordingLogger } from '../support/recording-logger.ts';

t.test('mesh.explain answers for the configuration in force, in words too', async (t) => {
  const yaml = serviceYaml() + resourceYaml('AuthorizationPolicy', 'nobody', '{selector: {matchLabels: {app: web}}}');
  const mesh = createMesh({
    workload: web,
    config: staticSource(yaml, { workload: web }),
    identity: false,
    logger: recordingLogger(),
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  const said = mesh.explain({ url: 'http://reviews/x' });
  t.match(said, { decision: 'route', cluster: 'outbound|80||reviews.shop.svc.cluster.local', path: '/x' });
  t.match(said.text, /^route to outbound\|80\|\|reviews/);
  const inbound = await mesh.explain({ direction: 'inbound', path: '/x' });
  t.match(inbound, { decision: 'deny', status: 403 });
  t.match(inbound.text, /^deny 403/);
});

t.test('mesh.explain knows how many headers this process takes', async (t) => {
  const headers = Array.from({ length: 120 }, (_, i): [string, string] => [`x-${i}`, '1']);
  const asked = async (maxHeaders: number) => {
    const options = { config: staticSource(serviceYaml(), { workload: web }), limits: { maxHeaders } };
    const mesh = createMesh({ workload: web, identity: false, logger: recordingLogger(), ...options });
    t.teardown(() => mesh.close());
    await mesh.ready();
    return (await mesh.explain({ direction: 'inbound', path: '/x', headers })).status;
  };
  t.equal(await asked(119), 431);
  t.equal(await asked(120), 200);
});

t.test('without a configuration there is nothing to explain', async (t) => {
  const mesh = createMesh({
    workload: web,
    config: { name: 'never', run: async () => {} },
    identity: false,
    logger: recordingLogger(),
  });
  t.teardown(() => mesh.close());
  try {
    mesh.explain({ url: 'http://reviews/' });
    t.fail('must throw');
  } catch (error) {
    t.ok(error instanceof MeshError && error.code === 'ERR_MESH_NOT_READY');
  }
});
