import type { IncomingMessage, ServerResponse } from 'node:http';
import { logLevels, type Mesh, meshMetricsText } from 'inmesh';
import { type OptionNames, refuseUnknownOptions } from 'inmesh/identity';
import { type Answer, BadRequest, json, send, text } from './answer.ts';
import { explain } from './explain.ts';
import { createGuard, type GuardOptions } from './guard.ts';
import { page } from './page.ts';
import {
  certificatesOf,
  clusterLines,
  clustersOf,
  configurationOf,
  memoryOf,
  routesOf,
  serverInfoOf,
} from './views.ts';

/** Options of {@link adminHandler}. */
export interface AdminOptions extends GuardOptions {
  /** Gauges of the process in `/metrics`. Default true. */
  readonly processMetrics?: boolean;
  /** Paths begin with this; for a handler that is mounted in an application: `/mesh`. Default ''. */
  readonly prefix?: string;
  /** What `POST /quitquitquit` does. Default: there is no such endpoint. */
  readonly quit?: () => void;
}

/** Of a `token` that is mistyped nobody would learn that none is asked for. */
export const optionNames: OptionNames<AdminOptions> = {
  allowedHosts: true,
  token: true,
  processMetrics: true,
  prefix: true,
  quit: true,
};

/** For `http.createServer`, Express' `app.use`, or a route of your own. */
export type AdminHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** One endpoint. */
interface Endpoint {
  readonly help: string;
  /** It changes something: POST only. `both`: POST as well. */
  readonly changes?: true | 'both';
  /** It tells nothing but whether there is life. */
  readonly open?: true;
  answer(request: IncomingMessage, query: URLSearchParams): Answer | Promise<Answer>;
}

/**
 * The admin endpoints of a mesh.
 *
 * @throws TypeError for options that are wrong, MeshError `ERR_MESH_OPTION_INVALID` for those that there are not.
 *
 * @example
 * const mesh = createMesh();
 * const server = createServer(adminHandler(mesh));
 */
export function adminHandler(mesh: Mesh, options: AdminOptions = {}): AdminHandler {
  refuseUnknownOptions('adminHandler', options, optionNames);
  const { prefix = '' } = options;
  if (!/^(\/[\w.-]+)*$/.test(prefix)) throw new TypeError(`prefix: must be a path such as /mesh, got ${prefix}`);
  const guard = createGuard(options);
  const endpoints = endpointsOf(mesh, options);

  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [path = '', search = ''] = splitTarget(request.url ?? '');
    // Only what is written exactly so is an endpoint: nothing is decoded, and nothing is a file.
    const endpoint = path.startsWith(prefix) ? endpoints.get(path.slice(prefix.length) || '/') : undefined;
    const refusal = guard(request, endpoint?.open === true);
    if (refusal !== undefined) {
      const challenge = refusal.status === 401 ? { 'www-authenticate': 'Bearer' } : {};
      send(request, response, { ...text(`${refusal.message}\n`, refusal.status), headers: challenge });
      return;
    }
    if (endpoint === undefined) {
      send(request, response, text('there is nothing here; see /help\n', 404));
      return;
    }
    const methods = methodsOf(endpoint);
    if (!methods.includes(request.method ?? '')) {
      const answer = text(`use ${methods.join(' or ')}\n`, 405);
      send(request, response, { ...answer, headers: { allow: methods.join(', ') } });
      return;
    }
    send(request, response, await endpoint.answer(request, new URLSearchParams(search)));
  };

  return (request, response) => {
    respond(request, response).catch((error: unknown) => {
      if (response.headersSent) {
        response.destroy();
        return;
      }
      const status = error instanceof BadRequest ? error.status : 500;
      const message = error instanceof BadRequest ? error.message : 'this could not be answered';
      send(request, response, text(`${message}\n`, status));
    });
  };
}

function splitTarget(target: string): readonly [string, string] {
  const at = target.indexOf('?');
  return at === -1 ? [target, ''] : [target.slice(0, at), target.slice(at + 1)];
}

function methodsOf({ changes }: Endpoint): readonly string[] {
  if (changes === true) return ['POST'];
  return changes === 'both' ? ['GET', 'HEAD', 'POST'] : ['GET', 'HEAD'];
}

function endpointsOf(mesh: Mesh, options: AdminOptions): ReadonlyMap<string, Endpoint> {
  const { processMetrics = true, quit, token } = options;
  const metrics = ({ headers }: IncomingMessage): Answer => {
    const { body, contentType } = meshMetricsText(mesh, headers.accept, { process: processMetrics });
    return { type: contentType, body };
  };
  const ready = (): Answer => {
    const { ready: isReady, reasons } = mesh.health();
    // Where a token is asked for, reasons are for those who have it: see /stats.
    const why = token === undefined ? reasons.map((reason) => `${reason}\n`).join('') : 'not ready\n';
    return isReady ? text('ready\n') : text(why, 503);
  };
  const table = new Map<string, Endpoint>([
    // A page without data, which asks for the token where there is one.
    ['/', { help: 'this mesh at a glance', open: true, answer: () => page }],
    ['/healthz/ready', { help: 'readiness: 200, or 503 and why not', open: true, answer: ready }],
    ['/ready', { help: "the same by Envoy's name", open: true, answer: ready }],
    ['/healthz/live', { help: 'liveness: 200 as long as it answers', open: true, answer: () => text('live\n') }],
    ['/metrics', { help: 'metrics for Prometheus', answer: metrics }],
    ['/stats/prometheus', { help: "the same by Envoy's name", answer: metrics }],
    ['/stats', { help: 'counters and state as JSON', answer: () => json({ ...mesh.stats(), health: mesh.health() }) }],
    [
      '/config_dump',
      { help: 'the configuration in force, without secrets', answer: () => json(configurationOf(mesh)) },
    ],
    [
      '/clusters',
      {
        help: 'clusters and endpoints; ?format=json',
        answer: (_, query) => (query.get('format') === 'json' ? json(clustersOf(mesh)) : text(clusterLines(mesh))),
      },
    ],
    ['/routes', { help: 'routes and policies, without secrets', answer: () => json(routesOf(mesh)) }],
    ['/listeners', { help: 'ports that are open', answer: () => json({ listeners: mesh.inspect().listeners }) }],
    ['/certs', { help: 'certificates and roots, without keys', answer: () => json(certificatesOf(mesh)) }],
    [
      '/explain',
      {
        help: 'where a request would go: ?url=…&method=…&header=name:value&direction=inbound&format=text, or POST JSON',
        changes: 'both',
        answer: (request, query) => explain(mesh, request, query),
      },
    ],
    [
      '/logging',
      {
        help: 'level of the logger; POST ?level=debug sets it',
        changes: 'both',
        answer: (request, query) => logging(mesh, request, query),
      },
    ],
    [
      '/drain_listeners',
      {
        help: 'POST: the mesh closes: what is under way finishes, readiness fails',
        changes: true,
        answer: () => {
          // Whoever asks is told nothing of how it ends; a failure must not end the process.
          mesh.close().catch((error: Error) => process.emitWarning(error));
          return text('draining\n');
        },
      },
    ],
    ['/memory', { help: 'memory of this process', answer: () => json(memoryOf()) }],
    ['/server_info', { help: 'who this is, and its state', answer: () => json(serverInfoOf(mesh)) }],
  ]);
  if (quit !== undefined) {
    const answer = (): Answer => {
      quit();
      return text('bye\n');
    };
    table.set('/quitquitquit', { help: 'POST: ends the process', changes: true, answer });
  }
  const help = [...table].map(([path, each]) => `${path}: ${each.help}\n`).join('');
  return table.set('/help', { help: 'these lines', answer: () => text(help) });
}

function logging(mesh: Mesh, request: IncomingMessage, query: URLSearchParams): Answer {
  const wanted = query.get('level');
  if (wanted !== null && request.method !== 'POST') throw new BadRequest('use POST to set the level', 405);
  const level = logLevels.find((each) => each === wanted);
  if (wanted !== null && level === undefined) {
    throw new BadRequest(`level: must be one of ${logLevels.join(', ')}, got ${JSON.stringify(wanted)}`);
  }
  const now = mesh.logLevel(level);
  return now === undefined ? text('the logger of this mesh has no level\n', 404) : json({ level: now });
}
