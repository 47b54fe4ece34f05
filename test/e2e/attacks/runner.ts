import { compile } from '../../../src/config/compile.ts';
import { parseYaml } from '../../../src/config/yaml.ts';
import type { Credentials } from '../../../src/identity/source.ts';
import type { Snapshot } from '../../../src/model/snapshot.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { type GuardedServer, guard } from '../../support/guarded-servers.ts';
import { shopWeb } from '../../support/inbound.ts';
import { type Attack, readFixture } from './catalogue.ts';
import { judge, type Verdict, whyNot } from './judge.ts';
import type { Layer, Outcome, Preparation, Target } from './layers.ts';
import { send } from './send.ts';
import type { ServerKind, Way } from './ways.ts';

/** One cell of the matrix. */
export interface Result extends Verdict {
  readonly attack: Attack;
  readonly layer: string;
  /** Name of the way; `alone` for cases without a server. */
  readonly way: string;
  /** How long it took, milliseconds; nothing where nothing ran. */
  readonly ms?: number;
  /** What was measured, for people. */
  readonly figures?: string | undefined;
}

const own = 'spiffe://cluster.local/ns/shop/sa/web';

/** Trust domains that the servers trust beside their own; two look like one that a policy names. */
const strangeDomains = ['evil.example', 'td-1xexample', 'td-1.example.evil'] as const;

/** Which cases run, and in which size. */
export interface RunOptions {
  readonly only?: (attack: Attack) => boolean;
  /** In the sizes that the cases say. Default: smaller, for tests that run all the time. */
  readonly full?: boolean;
}

/** Runs the cases of layers on ways: one server for each kind of server, policies changed between cases. */
export async function runAttacks(
  layers: readonly Layer[],
  ways: readonly Way[],
  { full = false, only = () => true }: RunOptions = {},
): Promise<readonly Result[]> {
  const authority = makeAuthority();
  const strangers = strangeDomains.map((trustDomain) => makeAuthority({ trustDomain, intermediate: false }));
  const trustBundles = new Map([authority, ...strangers].flatMap((each) => [...each.trustBundles]));
  const credentials: Credentials = { ...authority.issue(own), trustBundles };
  const shared = readFixture('configs').configs ?? {};
  const results: Result[] = [];

  const serve = async (kind: ServerKind, layer: Layer): Promise<GuardedServer> => {
    const options = layer.mesh?.() ?? {};
    return guard(
      {
        name: kind.name,
        serve: async ({ mesh }) => {
          const { securePort, plainPort, close } = await kind.serve(mesh, credentials, options.limits ?? {});
          return { port: securePort, plainPort, close };
        },
      },
      authority,
      { identity: { name: 'test', run: async (sink) => sink.update(credentials) }, ...options },
    );
  };

  const runLayer = async (layer: Layer, serverOf: (kind: ServerKind) => Promise<GuardedServer>): Promise<void> => {
    const fixture = readFixture(layer.name);
    const prepared: Preparation = (await layer.prepare?.()) ?? {};
    const configs = { ...shared, ...fixture.configs, ...prepared.configs };
    const yamlOf = (attack: Attack): string => {
      const parts = attack.config.split(' + ').map((name) => {
        const yaml = configs[name];
        if (yaml === undefined) throw new Error(`${attack.id}: there is no config ${JSON.stringify(name)}`);
        return yaml;
      });
      return parts
        .join('\n---\n')
        .replaceAll(/\$\{([\w-]+)\}/g, (whole, name: string) => prepared.values?.[name] ?? whole);
    };
    for (const attack of [...(fixture.cases ?? []), ...(prepared.cases ?? [])]) {
      if (!only(attack)) continue;
      const alone = layer.alone?.[attack.id];
      if (alone !== undefined) {
        const began = performance.now();
        const outcome = await outcomeOf(() => alone(full));
        const { figures } = outcome;
        const ms = performance.now() - began;
        results.push({ attack, layer: layer.name, way: 'alone', ms, figures, ...judge(attack, undefined, outcome) });
        continue;
      }
      for (const way of ways) {
        const script = layer.scripts?.[attack.id];
        const reason = whyNot(attack, way, script !== undefined);
        if (reason !== undefined) {
          results.push({ attack, layer: layer.name, way: way.name, verdict: 'n/a', detail: reason });
          continue;
        }
        const server = await serverOf(way.server);
        const yaml = yamlOf(attack);
        server.use(yaml);
        const secure = way.speaks === 'h2' || attack.input.peer !== undefined || attack.input.kind === 'http1-mtls';
        const target: Target = {
          way,
          port: secure ? server.port : server.plainPort,
          plainPort: server.plainPort,
          securePort: server.port,
          authority,
          strangers,
          yaml,
          use: server.use,
          mesh: server.mesh,
          full,
        };
        const began = performance.now();
        const outcome = await outcomeOf(async () => {
          if (script !== undefined) return script(target, attack.input);
          const token = attack.input.jwt === undefined ? [] : await tokenOf(attack, prepared);
          return send(attack, target, token);
        });
        results.push({
          attack,
          layer: layer.name,
          way: way.name,
          ms: performance.now() - began,
          figures: outcome.figures,
          ...judge(attack, way, outcome),
        });
      }
    }
    await prepared.close?.();
  };

  const withServers = async (some: readonly Layer[]): Promise<void> => {
    const servers = new Map<ServerKind, GuardedServer>();
    for (const layer of some) {
      await runLayer(layer, async (kind) => {
        let server = servers.get(kind);
        if (server === undefined) servers.set(kind, (server = await serve(kind, layer)));
        return server;
      });
    }
    await Promise.all([...servers.values()].map((server) => server.close()));
  };

  await withServers(layers.filter(({ mesh }) => mesh === undefined));
  for (const layer of layers) if (layer.mesh !== undefined) await withServers([layer]);
  return results;
}

async function tokenOf(attack: Attack, { token }: Preparation): Promise<readonly (readonly [string, string])[]> {
  if (token === undefined) throw new Error('the layer does not say how tokens are made');
  return token(attack.input);
}

async function outcomeOf(run: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await run();
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

/** Compiles the policies of a case as production does; for cases that are about configuration. */
export function compileYaml(yaml: string): Snapshot | readonly string[] {
  const { documents, problems } = parseYaml(yaml);
  if (problems.length > 0) return problems.map((problem) => JSON.stringify(problem));
  const made = compile(documents, { workload: shopWeb });
  return made.ok ? made.snapshot : made.problems.map((problem) => JSON.stringify(problem));
}
