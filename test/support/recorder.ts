import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import type { Dispatcher } from 'undici';
import type { TestClient } from './client.ts';

type Handler = Required<Dispatcher.DispatchHandler>;

/** A dispatched call, as its handler saw it. */
export interface Recorded {
  /** `start`, `started`, `sent`, `103`, `200`, `data ok`, `end`, `error ERR_X`, `upgrade 101`, in order. */
  readonly events: string[];
  readonly controller: Dispatcher.DispatchController;
  /** Resolves with the last event: the end, the error or the upgrade. */
  readonly done: Promise<string>;
  headers: Record<string, string | string[] | undefined>;
  trailers: Record<string, string | string[] | undefined>;
  text: string;
  error: Error & { readonly code?: string };
  socket: Duplex | undefined;
}

/** Dispatches with a handler that writes everything down. `hooks` run after that, and may throw. */
export function record(
  dispatcher: Dispatcher,
  options: Partial<Dispatcher.DispatchOptions>,
  hooks: Partial<Record<keyof Handler, (controller: Dispatcher.DispatchController) => void>> = {},
): Recorded {
  const events: string[] = [];
  let finish = (_event: string): void => {};
  const done = new Promise<string>((resolve) => {
    finish = resolve;
  });
  const result: { -readonly [K in keyof Recorded]: Recorded[K] } = {
    events,
    done,
    controller: undefined as never,
    headers: {},
    trailers: {},
    text: '',
    error: undefined as never,
    socket: undefined,
  };
  const note = (event: string, name: keyof Handler): void => {
    events.push(event);
    hooks[name]?.(result.controller);
  };
  const { onResponseStarted } = hooks;
  const handler: Dispatcher.DispatchHandler = {
    ...(onResponseStarted === undefined ? {} : { onResponseStarted: () => onResponseStarted(result.controller) }),
    onRequestStart(controller) {
      result.controller = controller;
      note('start', 'onRequestStart');
    },
    onResponseStart(_controller, status, headers) {
      result.headers = headers;
      note(String(status), 'onResponseStart');
    },
    onResponseData(_controller, chunk) {
      result.text += chunk.toString();
      note(chunk.length < 20 ? `data ${chunk}` : `data ${chunk.length} bytes`, 'onResponseData');
    },
    onResponseEnd(_controller, trailers) {
      result.trailers = trailers;
      finish('end');
      note('end', 'onResponseEnd');
    },
    onResponseError(controller, error) {
      result.error = error;
      result.controller ??= controller;
      const event = `error ${(error as { code?: string } | undefined)?.code ?? error?.message}`;
      finish(event);
      note(event, 'onResponseError');
    },
    onRequestUpgrade(_controller, status, headers, socket) {
      result.headers = headers;
      result.socket = socket;
      finish(`upgrade ${status}`);
      note(`upgrade ${status}`, 'onRequestUpgrade');
    },
  };
  dispatcher.dispatch(
    { method: 'GET', path: '/', origin: 'http://a', ...options } as Dispatcher.DispatchOptions,
    handler,
  );
  return result;
}

/** What the client counted: `GET`s are not told apart, so `200`, `503 UF`, `0 DC`, sorted. */
export function counted(client: TestClient): string[] {
  return client.metrics
    .snapshot()
    .flatMap(({ statuses, flags }) => [
      ...Object.entries(statuses).map(([status, count]) => `${status} x${count}`),
      ...Object.entries(flags).map(([flag, count]) => `${flag} x${count}`),
    ])
    .sort();
}

/** Everything that was taken is given back: places at endpoints and limits, and the call itself. */
export async function assertIdle(t: Test, client: TestClient): Promise<void> {
  await client.close();
  for (const state of client.clusters.all()) t.fail(`${state.cluster.name} is still there`);
  for (const [name, active] of client.active()) t.equal(active, 0, `${name} is idle`);
}
