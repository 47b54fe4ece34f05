import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openAuthority } from '@inmesh/ca';
import { createCsr, generateIdentityKey } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { otherAuthority } from '../../ca/test/support/plugged-folder.ts';
import { type Output, run } from '../src/index.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Result {
  readonly code: number;
  readonly out: string;
  readonly notes: string;
}

async function inmesh(...args: readonly string[]): Promise<Result> {
  const out: string[] = [];
  const notes: string[] = [];
  const output: Output = { line: (text) => void out.push(text), note: (text) => void notes.push(text) };
  const code = await run(['ca', ...args], output, { env: {}, cwd: '/' });
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

/** A folder with an authority, and commands for it. */
async function authority(t: Test, ...options: readonly string[]) {
  const dir = join(t.testdir(), 'ca');
  t.equal((await inmesh('init', '--dir', dir, ...options)).code, 0);
  const [command] = [(name: string, ...rest: readonly string[]) => inmesh(name, ...rest, '--dir', dir)];
  const sign = () => openAuthority(dir).signCsr(createCsr(web, generateIdentityKey()), web);
  return { dir, command, sign };
}

t.test('rotate: step by step, each saying what comes next', async (t) => {
  const { dir, command } = await authority(t);
  const old = readFileSync(join(dir, 'root.pem'), 'utf8');
  t.match(await command('rotate', 'status'), { code: 0, out: 'root: not being exchanged' });
  const prepared = await command('rotate', 'prepare');
  t.match(
    prepared.out,
    /^✓ members are handed both roots.*root\.pem, which holds both\n.*is cross-signed.*\n {2}next: inmesh ca rotate activate$/,
  );
  t.match(readFileSync(join(dir, 'root.pem'), 'utf8'), old);
  t.match(
    (await command('rotate', 'status')).out,
    /^root: a new one is prepared since 20.*Z, cross-signed\n {2}next: inmesh ca rotate activate$/,
  );
  t.match(await command('rotate', 'prepare'), {
    code: 1,
    out: '',
    notes: /^inmesh: the root is being exchanged already \(prepared since/,
  });
  t.match(await command('rotate', 'finish'), {
    code: 1,
    notes: /the old root still signs .*: `inmesh ca rotate activate` comes next/,
  });
  t.match(await command('rotate', 'activate'), { code: 0, out: /^✓ the new root signs/ });
  t.match(
    (await command('rotate', 'status')).out,
    /^root: the new one signs since 20.*\n {2}next: inmesh ca rotate finish$/,
  );
  t.match(await command('rotate', 'finish'), {
    code: 0,
    out: /^✓ the old root is gone, with its keys; .*root\.pem is the new one$/,
  });
  t.notMatch(readFileSync(join(dir, 'root.pem'), 'utf8'), old);
  t.match(await command('rotate', 'abort'), { code: 1, notes: /nothing to abort/ });
});

t.test('rotate: waits for certificates of the old root unless it is forced, and goes back', async (t) => {
  const { command, sign } = await authority(t);
  sign();
  await command('rotate', 'prepare');
  await command('rotate', 'activate');
  t.match(await command('rotate', 'finish'), { code: 1, notes: /1 certificates of the old root are valid until/ });
  t.match((await command('rotate', 'status')).out, /; 1 certificate of the old root valid until 20/);
  t.match(await command('rotate', 'abort'), {
    code: 0,
    out: '✓ the old root signs again; abort once more to take the new one away',
  });
  t.match(await command('rotate', 'abort'), { code: 0, out: '✓ the new root is gone, with its keys' });
  await command('rotate', 'prepare');
  await command('rotate', 'activate');
  t.match(await command('rotate', 'finish', '--force'), { code: 0 });
});

t.test('rotate --from: to a root that is kept elsewhere', async (t) => {
  const { dir, command } = await authority(t);
  const other = otherAuthority();
  const from = other.write(join(dir, '..', 'cacerts'));
  t.match(await command('rotate', 'prepare', '--from', from), { code: 0, out: /is cross-signed/ });
  await command('rotate', 'activate');
  await command('rotate', 'finish');
  t.equal(readFileSync(join(dir, 'root.pem'), 'utf8'), new X509Certificate(other.rootPem).toString());
  t.notOk(existsSync(join(dir, 'root-key.pem')));
  t.match((await command('status')).out, /root +signing +P-256 +\d+ days left +CN=their root \(its key is elsewhere\)/);
  await command('rotate', 'prepare', '--from', otherAuthority('third').write(join(dir, '..', 'third')));
  t.match((await command('rotate', 'status')).out, /not cross-signed/);
  t.match(await command('rotate', 'activate'), { code: 1, notes: /no cross certificate/ });
});

t.test('init --from and import: intermediates that were made elsewhere', async (t) => {
  const folder = t.testdir();
  const other = otherAuthority();
  const dir = join(folder, 'ca');
  t.match(await inmesh('init', '--dir', dir, '--from', other.write(join(folder, 'one'))), { code: 0 });
  const before = readFileSync(join(dir, 'intermediate.pem'), 'utf8');
  const two = other.write(join(folder, 'two'));
  t.match(await inmesh('import', two, '--dir', dir), { code: 0, out: `✓ the intermediate of ${two} signs` });
  t.not(readFileSync(join(dir, 'intermediate.pem'), 'utf8'), before);
  t.match(await inmesh('import', otherAuthority('x').write(join(folder, 'x')), '--dir', dir), {
    code: 1,
    notes: /belongs to another root/,
  });
  t.match(await inmesh('import', '--dir', dir), { code: 2, notes: /name the folder of the intermediate/ });
  t.match(await inmesh('init', '--dir', join(folder, 'bad'), '--from', folder), {
    code: 1,
    notes: /ca-cert\.pem: it is missing/,
  });
});

t.test('init --key: kinds of keys, and no name constraints', async (t) => {
  const { command } = await authority(t, '--key', 'rsa-2048', '--no-name-constraints');
  t.match((await command('status')).out, /root +signing +RSA 2048 .*\n +intermediate +signing +RSA 2048/);
  const wrong = await inmesh('init', '--dir', join(t.testdir(), 'x'), '--key', 'rsa-512');
  t.match(wrong, { code: 2, notes: /keyType: expected one of p-256, .*, not "rsa-512"/ });
});

t.test('revoke: a certificate, an identity, and back', async (t) => {
  const { command, sign } = await authority(t);
  const { serial } = sign();
  sign();
  const args = ['--serial', serial, '--reason', 'keyCompromise'];
  t.match(await command('revoke', ...args), { code: 0, out: `✓ certificate ${serial} is revoked`, notes: /revoked/ });
  t.match(await command('revoke', ...args), { code: 0, out: `✓ certificate ${serial} was revoked already` });
  t.match(await command('revoke', '--spiffe-id', web), { code: 0, out: `✓ ${web} is revoked, with 1 certificate` });
  t.throws(sign, { code: 'ERR_MESH_CA', reason: 'revoked' });
  t.match(
    (await command('status')).out,
    /\nrevoked: 2 certificates, and for good spiffe:.*\/web\nrevocation list: number 3, valid until 20/,
  );
  t.match(await command('revoke', '--spiffe-id', web, '--undo'), {
    code: 0,
    out: `✓ ${web} may have certificates again`,
  });
  t.ok(sign());
  t.match(await command('revoke', '--spiffe-id', web, '--undo'), { code: 1, notes: /is not revoked/ });
});

t.test('status: in words and as JSON; exit code 1 when something is wrong', async (t) => {
  const { dir, command, sign } = await authority(t);
  const { serial } = sign();
  sign();
  const { code, out, notes } = await command('status');
  t.equal(code, 0);
  t.equal(notes, '');
  t.match(
    out,
    /^certificate authority of cluster\.local, certificates for 1h, 1 root in its bundle\n {2}root +signing +P-256 +3649 days left +O=inmesh, CN=root [0-9a-f]{8} cluster\.local\n {2}intermediate +signing +P-256 +364 days left .*\nroot: not being exchanged\nissued: 2 certificates, 2 valid; log: whole \(2 lines\)\n {2}20.*\n.* [0-9a-f]{32} spiffe:.*\/web \(library\)\nrevoked: 0 certificates$/,
  );
  t.match(out, serial);
  t.match(JSON.parse((await command('status', '--json')).out), {
    trustDomain: 'cluster.local',
    certificates: [{ role: 'root', state: 'signing', keyHere: true }, { role: 'intermediate' }],
    issued: { total: 2, valid: 2, last: [{ by: 'library' }, { serial }] },
    log: { entries: 2 },
  });
  const log = join(dir, 'issued.jsonl');
  writeFileSync(log, readFileSync(log, 'utf8').replace('/web', '/bad'));
  t.match(await command('status'), { code: 1, out: /log: ✗ changed at issued\.jsonl:2/ });
});

t.test('nothing of a key or a token is ever printed', async (t) => {
  // CA-016
  const { dir, command, sign } = await authority(t);
  sign();
  const key = readFileSync(join(dir, 'root-key.pem'), 'utf8').split('\n')[1] as string;
  const printed: string[] = [];
  for (const args of [
    ['status'],
    ['status', '--json'],
    ['rotate', 'prepare'],
    ['rotate', 'activate'],
    ['rotate', 'abort'],
    ['revoke', '--spiffe-id', web],
  ]) {
    const { out, notes } = await command(args[0] as string, ...args.slice(1));
    printed.push(out, notes);
  }
  t.notMatch(printed.join('\n'), /PRIVATE/);
  t.notOk(printed.join('\n').includes(key));
});

t.test('wrong command lines', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['rotate'], /name one of prepare, activate, finish, abort, status\n`inmesh ca rotate --help`/],
    [['rotate', 'sideways'], /unknown step sideways/],
    [['rotate', 'prepare', 'now'], /unexpected argument now/],
    [['revoke'], /say what is revoked, by --serial or by --spiffe-id/],
    [['revoke', '--serial', 'a', '--spiffe-id', 'b'], /say what is revoked/],
    [['revoke', '--serial', 'a', '--reason', 'mood'], /--reason must be one of unspecified, .* got "mood"/],
    [['revoke', '--serial', 'a', '--undo'], /--undo is for --spiffe-id/],
    [['status', 'x'], /unexpected argument x/],
  ];
  for (const [args, message] of cases)
    t.match(await inmesh(...args), { code: 2, out: '', notes: message }, args.join(' '));
  for (const [name, text] of [
    ['rotate', /^Usage: inmesh ca rotate prepare\|activate\|finish\|abort\|status \[options\]\n\n.*\n\n {2}prepare /],
    ['revoke', /--reason <word>/],
    ['status', /--json/],
    ['import', /^Usage: inmesh ca import <folder>/],
    ['init', /--no-name-constraints/],
  ] as const) {
    t.match((await inmesh(name, '--help')).out, text, name);
  }
});
