import { Client, type Dispatcher } from 'undici';
import type { HttpProbe } from '../model/health-check.ts';
import { type ConnectTarget, openConnection } from './connector.ts';
import { type Prober, probeAgent } from './prober.ts';

/** An idle connection is kept for the next question this long, if the server lets it. */
const idleMs = 600_000;

/** A request over HTTP/1.1, on a connection that is kept. */
export function httpProber(target: ConnectTarget, probe: HttpProbe): Prober {
  const options = {
    connect: (_: unknown, callback: unknown) =>
      openConnection(target, callback as Parameters<typeof openConnection>[1]),
    keepAliveTimeout: idleMs,
    keepAliveMaxTimeout: idleMs,
  };
  const headers = ['host', probe.host, 'user-agent', probeAgent];
  for (const { name, value } of probe.headers) headers.push(name, value);
  const request: Dispatcher.DispatchOptions = {
    path: probe.path,
    method: probe.method as Dispatcher.HttpMethod,
    headers,
    // The checks have their own time.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  let client: Client | undefined;
  const drop = (): void => {
    const old = client;
    client = undefined;
    void old?.destroy();
  };

  return {
    ask(done) {
      client ??= new Client('http://endpoint', options as unknown as Client.Options);
      let over = false;
      let status = 0;
      let wantsOut = false;
      client.dispatch(request, {
        onRequestStart() {
          // Required by undici.
        },
        onResponseStart(_controller, code, given) {
          if (code < 200) return;
          status = code;
          wantsOut = given['x-envoy-immediate-health-check-fail'] !== undefined;
        },
        onResponseData() {
          // The status decides; the body is read so that the connection can be used again.
        },
        onResponseEnd() {
          if (over) return;
          over = true;
          done({ kind: 'http', status, wantsOut });
        },
        onResponseError(_controller, error) {
          if (over) return;
          over = true;
          done({ kind: 'error', message: error.message });
        },
      });
      return () => {
        if (over) return;
        over = true;
        drop();
      };
    },
    renew: drop,
    close: drop,
  };
}
