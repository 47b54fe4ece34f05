import { changeList, type HeaderChanges, type HeaderRecord } from '../lib/header-edit.ts';
import { formatContext } from './format-context.ts';
import { changesOf } from './header-edits.ts';
import { baggageWithChoice, type DestinationPlan } from './plan.ts';
import { authorityOf, type RoutableRequest } from './request-view.ts';

/**
 * What a route changes about the headers of a request, for hosts that send requests themselves. The
 * headers of `request` are changed along, since later levels see what earlier ones did.
 */
export function requestChanges(
  plan: DestinationPlan,
  request: RoutableRequest,
  path: string,
  startTimeMs: number,
): readonly HeaderChanges[] {
  const { headers } = request;
  const done: HeaderChanges[] = [];
  const change = (changes: HeaderChanges): void => {
    changeList(headers, changes);
    done.push(changes);
  };
  const set = (name: string, value: string): void => change({ remove: [], set: [name, value], add: [] });
  const baggage = baggageWithChoice(plan, headers);
  if (baggage !== undefined) set('baggage', baggage);
  for (const edit of plan.edits.request)
    change(changesOf(edit, () => formatContext(request, plan.route.name, startTimeMs)));
  if (plan.authority !== undefined) set('x-envoy-original-host', authorityOf(request));
  if (path !== request.path) set('x-envoy-original-path', request.path);
  return done;
}

/** What a route changes about a response, `cors` last; nothing when it changes none. */
export function responseChanges(
  plan: DestinationPlan,
  request: RoutableRequest,
  startTimeMs: number,
  cors: HeaderChanges | undefined,
): ((status: number, raw: readonly string[]) => readonly HeaderChanges[]) | undefined {
  const { edits, route } = plan;
  if (edits.response.length === 0 && cors === undefined) return undefined;
  return (status, raw) => {
    const record = recordOf(raw);
    const changes = edits.response.map((edit) =>
      changesOf(edit, () => formatContext(request, route.name, startTimeMs, status, record)),
    );
    return cors === undefined ? changes : [...changes, cors];
  };
}

function recordOf(raw: readonly string[]): HeaderRecord {
  const record: HeaderRecord = {};
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const value = raw[i + 1] as string;
    const before = record[name];
    record[name] = before === undefined ? value : `${before as string},${value}`;
  }
  return record;
}
