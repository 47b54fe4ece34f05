import { join } from 'node:path';
import { MeshError } from 'inmesh/identity';
import t from 'tap';
import { claimFile, readIfThere } from '../src/files.ts';
import { createKeyRegister } from '../src/key-register.ts';
import { reasonOf, refusal } from '../src/refusal.ts';

t.test('the register of keys forgets the oldest and never the newest', async (t) => {
  const register = createKeyRegister([]);
  for (let i = 0; i <= 100_000; i++) register.record(`key ${i}`, 'somebody');
  t.throws(() => register.check('key 100000', 'me'), { code: 'ERR_MESH_CA', reason: 'key_reused' });
  t.throws(() => register.check('key 1', 'me'), { code: 'ERR_MESH_CA', reason: 'key_reused' });
  t.doesNotThrow(() => register.check('key 0', 'me'));
  t.doesNotThrow(() => register.check('key 1', 'somebody'));
});

t.test('a file is claimed once, and trouble is not taken for a claim', async (t) => {
  const dir = t.testdir({ folder: {} });
  t.equal(claimFile(join(dir, 'one'), 'text'), true);
  t.equal(claimFile(join(dir, 'one')), false);
  t.equal(readIfThere(join(dir, 'one')), 'text');
  t.equal(readIfThere(join(dir, 'two')), undefined);
  t.throws(() => claimFile(join(dir, 'nowhere', 'one')), { code: 'ENOENT' });
  t.throws(() => readIfThere(join(dir, 'folder')), { code: 'ERR_MESH_CA', reason: 'unavailable' });
});

t.test('only refusals have a reason', async (t) => {
  t.equal(reasonOf(refusal('bad_csr', 'x')), 'bad_csr');
  t.equal(reasonOf(new Error('x')), undefined);
  t.equal(reasonOf(new MeshError('ERR_MESH_CA', 'x')), undefined);
  for (const reason of [5, 'toString', 'unheard_of']) {
    t.equal(reasonOf(Object.assign(new MeshError('ERR_MESH_CA', 'x'), { reason })), undefined, String(reason));
  }
});
