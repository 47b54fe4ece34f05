import t from 'tap';
import { adminHandler, adminServer } from '../../packages/admin/src/index.ts';
import { runAuthority } from '../../packages/ca/src/index.ts';
import { meshServerFactory } from '../../packages/fastify/src/index.ts';
import { meshChannel, meshChannelOptions } from '../../packages/grpc/src/index.ts';
import { istiodSource } from '../../packages/istiod/src/index.ts';
import { grpcRateLimitService } from '../../packages/ratelimit/src/index.ts';
import { sdsSource, serveSds } from '../../packages/sds/src/index.ts';
import { workloadApiSource } from '../../packages/spiffe/src/index.ts';
import { xdsSource } from '../../packages/xds/src/index.ts';
import { caSource, fileIdentitySource } from '../../src/exports/identity.ts';

/** Each with one letter wrong: what would be missing without a word. */
const mistyped: readonly (readonly [string, (options: never) => unknown, string, string])[] = [
  ['adminServer', (options) => adminServer(undefined as never, options), 'tokn', 'token'],
  ['adminHandler', (options) => adminHandler(undefined as never, options), 'allowedHost', 'allowedHosts'],
  ['runAuthority', runAuthority, 'passPhrase', 'passphrase'],
  ['caSource', caSource, 'tokenfile', 'tokenFile'],
  ['fileIdentitySource', fileIdentitySource, 'crlfile', 'crlFile'],
  ['istiodSource', istiodSource, 'spiffeID', 'spiffeId'],
  ['grpcRateLimitService', grpcRateLimitService, 'credential', 'credentials'],
  ['sdsSource', sdsSource, 'trustDomain', 'trustDomains'],
  ['serveSds', serveSds, 'mod', 'mode'],
  ['workloadApiSource', workloadApiSource, 'spiffeid', 'spiffeId'],
  ['xdsSource', xdsSource, 'servers', 'server'],
];

t.test('an option whose name is mistyped is refused, with the one that was meant', async (t) => {
  for (const [name, make, wrong, meant] of mistyped) {
    const problem = {
      code: 'ERR_MESH_OPTION_INVALID',
      message: `${name}: ${wrong}: is not a known option; did you mean ${meant}?`,
    };
    await t.rejects(async () => make({ [wrong]: 'x' } as never), problem, name);
  }
});

t.test('one that is like no other is told all that there are', async (t) => {
  t.throws(() => grpcRateLimitService({ zzzzzzzz: 1 } as never), { message: /; known: credentials, channelOptions$/ });
});

t.test('what needs a mesh says so at once', async (t) => {
  const problem = { code: 'ERR_MESH_OPTION_INVALID', message: /needs the mesh that createMesh returned$/ };
  for (const none of [undefined, null, {}, Promise.resolve()] as never[]) {
    t.throws(() => meshServerFactory(none), problem);
    t.throws(() => meshChannelOptions(none), problem);
    t.throws(() => meshChannel(none, 'greeter:1'), problem);
  }
});
