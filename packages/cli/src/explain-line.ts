import { compile, describeProblem, documentOf, type Workload } from 'inmesh/config';
import { createExplainer, type Explainer, type Explanation, type RemoteDocuments } from 'inmesh/explain';
import { isTextMap, readRequest, readTime, withoutNulls } from './explain-request.ts';
import { resourcesOfServices } from './explain-services.ts';
import { BadLine, isRecord } from './lines.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Compiled configurations that are kept for the lines that follow, and the size of their text together. */
const maxKept = 64;
const maxKeptLength = 16_777_216;

/** Answers the objects of a table of expectations. Lines with the same configuration compile it once. */
export function createLineExplainer(options: {
  readonly paths: 'views' | 'literal';
}): (body: Fields) => Promise<Explanation> {
  const kept = new Map<string, Explainer>();
  let length = 0;
  return async (body) => {
    const direction = body['direction'] ?? 'outbound';
    if (direction !== 'outbound' && direction !== 'inbound') {
      throw new BadLine('direction must be outbound or inbound');
    }
    const { notes, request: read } = readRequest(body['request']);
    const nowMs = readTime(body['now']);
    const request = nowMs === undefined ? read : { ...read, nowMs };
    const party = direction === 'outbound' ? request.from : request.to;
    const workload = readWorkload(body['workload'], party);
    const config = body['config'] ?? {};
    if (!isRecord(config)) throw new BadLine('config must be an object');
    const key = JSON.stringify([config, workload]);
    let explainer = kept.get(key);
    if (explainer === undefined) {
      explainer = compileConfig(withoutNulls(config), workload, options.paths);
      if (kept.size >= maxKept || length + key.length > maxKeptLength) {
        kept.clear();
        length = 0;
      }
      kept.set(key, explainer);
      length += key.length;
    }
    const explanation = await explainer[direction](request);
    return notes.length === 0 ? explanation : { ...explanation, notes: [...notes, ...explanation.notes] };
  };
}

interface Party {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

function readWorkload(value: unknown, party: Party = {}): Party {
  if (value === undefined || value === null) {
    const { namespace, labels } = party;
    return { ...(namespace === undefined ? {} : { namespace }), ...(labels === undefined ? {} : { labels }) };
  }
  if (!isRecord(value)) throw new BadLine('workload must be an object');
  const { request } = readRequest({ to: { namespace: value['namespace'], labels: value['labels'] } });
  const { namespace, labels } = request.to ?? {};
  return { ...(namespace === undefined ? {} : { namespace }), ...(labels === undefined ? {} : { labels }) };
}

function compileConfig(config: Fields, party: Party, paths: 'views' | 'literal'): Explainer {
  const resources = config['resources'] ?? [];
  if (!Array.isArray(resources)) throw new BadLine('config.resources must be a list');
  const mesh = config['mesh'] ?? {};
  if (!isRecord(mesh)) throw new BadLine('config.mesh must be an object');
  const trustDomain = typeof mesh['trustDomain'] === 'string' ? mesh['trustDomain'] : 'cluster.local';
  const workload: Workload = {
    name: 'explained',
    namespace: party.namespace ?? 'default',
    serviceAccount: 'default',
    labels: party.labels ?? {},
    trustDomain,
    clusterDomain: 'cluster.local',
  };
  const services = resourcesOfServices(config['services'], resources, workload.clusterDomain);
  const documents = [meshDocument(mesh), ...resources, ...services].map((each) => documentOf(each));
  const result = compile(documents, { workload, trustDomainIsDefault: true });
  if (!result.ok) throw new BadLine(result.problems.slice(0, 5).map(describeProblem).join('; '));
  return createExplainer({ snapshot: result.snapshot, workload, paths, remote: readRemote(config['remote']) });
}

/** What servers would answer, by URL, so that none is asked. */
export function readRemote(value: unknown, name = 'config.remote'): RemoteDocuments {
  if (value === undefined || value === null) return {};
  if (!isRecord(value)) throw new BadLine(`${name} must be an object: what is answered, by URL`);
  for (const [url, answer] of Object.entries(value)) {
    const at = `${name}[${JSON.stringify(url)}]`;
    if (!isRecord(answer)) throw new BadLine(`${at} must be an object with status and body`);
    const { headers, status } = answer;
    if (headers !== undefined && !isTextMap(headers)) throw new BadLine(`${at}.headers must be a map of texts`);
    if (status !== undefined && !(Number.isInteger(status) && (status as number) >= 100 && (status as number) <= 599)) {
      throw new BadLine(`${at}.status must be a status of HTTP, got ${JSON.stringify(status).slice(0, 80)}`);
    }
  }
  return value as RemoteDocuments;
}

/** In the form in which fields of other versions of Istio are let pass. */
function meshDocument(meshConfig: Fields): object {
  return { apiVersion: 'install.istio.io/v1alpha1', kind: 'IstioOperator', spec: { meshConfig } };
}
