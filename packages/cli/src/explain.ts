import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describeProblem } from 'inmesh/config';
import {
  createExplainer,
  describeExplanation,
  type ExplainCaller,
  type ExplainRequest,
  type RemoteDocuments,
} from 'inmesh/explain';
import { type Arguments, describeOptions, type OptionTable, readArguments } from './arguments.ts';
import { createLineExplainer, readRemote } from './explain-line.ts';
import { readRequest } from './explain-request.ts';
import { answerLines } from './lines.ts';
import { load, type Surroundings, workloadOptions } from './load.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

const options: OptionTable = {
  url: { type: 'string', value: '<url>', help: 'The request: http://reviews:9080/reviews/1.' },
  method: { type: 'string', value: '<method>', help: 'Default: GET.' },
  header: { type: 'string', multiple: true, value: '<name: value>', help: 'May be repeated.' },
  protocol: { type: 'string', value: '<name>', help: 'http, http2, grpc or tcp. Default: that of the URL.' },
  sni: { type: 'string', value: '<name>', help: 'Server name of a TLS client, for tls routes.' },
  random: {
    type: 'string',
    value: '<number>',
    help: 'From 0 to less than 1: decides weights and percentages. Default: 0.',
  },
  inbound: { type: 'boolean', help: 'The request comes to the process instead of from it.' },
  port: {
    type: 'string',
    value: '<number>',
    help: 'Inbound: port that the process listens on. Default: that of the URL.',
  },
  from: {
    type: 'string',
    value: '<caller>',
    help: 'Inbound: <namespace>/<service account>, or a SPIFFE ID. Default: nobody.',
  },
  ip: { type: 'string', value: '<address>', help: 'Inbound: address of the caller.' },
  remote: {
    type: 'string',
    value: '<file>',
    help: 'Inbound: JSON with what servers answer, by URL: {"https://…/jwks": {"body": {"keys": […]}}}. Nothing is fetched.',
  },
  now: { type: 'string', value: '<time>', help: 'Inbound: when it arrives, 2030-01-31T12:00:00Z. Default: now.' },
  tls: { type: 'string', value: '<how>', help: 'Inbound: mtls, tls or plaintext. Default: mtls with --from.' },
  workload: {
    type: 'string',
    value: '<ns/k=v,k=v>',
    help: 'The process: namespace and labels in one, instead of the next two.',
  },
  ...workloadOptions,
  paths: {
    type: 'string',
    value: '<reading>',
    help: 'How policies read paths: views, or literal as Istio. Default: views; with --stdin literal.',
  },
  json: { type: 'boolean', help: 'Print the explanation as JSON.' },
  stdin: { type: 'boolean', help: 'Read requests with their configuration as JSON Lines, answer a line each.' },
};

export const explainHelp: string = `Usage: inmesh explain [<path> …] --url <url> [options]
       inmesh explain --stdin

Says what would happen to a request and why, without sending it: which rule of which
file, why not the rules before it, destinations with weights, what is rewritten, timeout,
retries, fault, mirrors; for inbound requests which policy allows or denies. Without a
path it reads the configuration of INMESH_CONFIG.

${describeOptions(options)}

--stdin reads {"id","direction","config","workload","request"} in each line and answers
{"id","decision",…}, or {"id","error"} for a line that is wrong (docs/reference/explain.md).

Exit code 0: explained, whatever the decision; 1: the configuration is refused; 2: the
command line is wrong. With --stdin 0 as soon as all lines are answered.`;

/** `inmesh explain`. */
export async function explain(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const parsed = readArguments('explain', withWorkload(args), options);
  if (parsed.flag('stdin')) {
    const answer = createLineExplainer({ paths: pathsOf(parsed) ?? 'literal' });
    await answerLines(surroundings.stdin ?? nothing(), output, async ({ body }) => ({ ...(await answer(body)) }));
    return 0;
  }
  const request = requestOf(parsed);
  const paths = pathsOf(parsed) ?? 'views';
  const remote = await remoteOf(parsed, surroundings.cwd);
  const { result, settings } = await load('explain', parsed, surroundings);
  if (!result.ok) {
    for (const problem of result.problems) output.note(describeProblem(problem));
    return 1;
  }
  const { workload } = settings;
  const explainer = createExplainer({ snapshot: result.snapshot, workload, paths, remote });
  const explanation = parsed.flag('inbound') ? await explainer.inbound(request) : explainer.outbound(request);
  output.line(parsed.flag('json') ? JSON.stringify(explanation, undefined, 2) : describeExplanation(explanation));
  return 0;
}

async function* nothing(): AsyncGenerator<string> {}

/** `--workload shop/app=web` stands for `--namespace shop --labels app=web`. */
function withWorkload(args: readonly string[]): readonly string[] {
  return args.flatMap((arg, index) => {
    if (args[index - 1] === '--workload') return [];
    const text =
      arg === '--workload' ? (args[index + 1] ?? '') : arg.startsWith('--workload=') ? arg.slice(11) : undefined;
    if (text === undefined) return [arg];
    const slash = text.indexOf('/');
    const namespace = slash === -1 ? text : text.slice(0, slash);
    if (namespace === '') throw new UsageError('--workload must be <namespace>/<key>=<value>,…', 'explain');
    return ['--namespace', namespace, ...(slash === -1 ? [] : ['--labels', text.slice(slash + 1)])];
  });
}

function requestOf(args: Arguments): ExplainRequest {
  const url = args.text('url');
  if (url === undefined) throw new UsageError('name the request by --url, or read requests with --stdin', 'explain');
  if (!/^https?:\/\/[^/?#]/i.test(url))
    throw new UsageError(`--url must be an http or https URL, got ${url}`, 'explain');
  const random = args.text('random');
  const port = args.integer('port', 1, 65_535);
  const inbound = args.flag('inbound');
  const fields = {
    url,
    method: args.text('method'),
    headers: args.texts('header').map(readHeader),
    protocol: args.text('protocol'),
    sni: args.text('sni'),
    tls: args.text('tls'),
    random: random === undefined ? undefined : Number(random),
    from: withIp(readCaller(args.text('from')), args.text('ip')),
    now: args.text('now'),
    ...(port === undefined ? {} : inbound ? { to: { port } } : { port }),
  };
  try {
    return readRequest(Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))).request;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.replace(/^request\./, '--') : String(error), 'explain');
  }
}

function readHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(':');
  if (colon <= 0) throw new UsageError(`--header must be <name>: <value>, got ${JSON.stringify(text)}`, 'explain');
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function readCaller(text: string | undefined): ExplainCaller | undefined {
  if (text === undefined) return undefined;
  const [namespace, serviceAccount, ...more] = text.split('/');
  return serviceAccount !== undefined && more.length === 0 && namespace !== undefined
    ? { namespace, serviceAccount }
    : { principal: text };
}

function withIp(caller: ExplainCaller | undefined, ip: string | undefined): ExplainCaller | undefined {
  return ip === undefined ? caller : { ...caller, ip };
}

async function remoteOf(args: Arguments, cwd: string): Promise<RemoteDocuments> {
  const file = args.text('remote');
  if (file === undefined) return {};
  try {
    return readRemote(JSON.parse(await readFile(resolve(cwd, file), 'utf8')), '--remote');
  } catch (error) {
    throw new UsageError(`--remote ${file}: ${error instanceof Error ? error.message : String(error)}`, 'explain');
  }
}

function pathsOf(args: Arguments): 'views' | 'literal' | undefined {
  const text = args.text('paths');
  if (text === undefined || text === 'views' || text === 'literal') return text;
  throw new UsageError(`--paths must be views or literal, got ${JSON.stringify(text)}`, 'explain');
}
