import { type Fields, rawHttp2 } from '../../support/http2-raw-client.ts';
import type { Layer, Outcome, Script, Target } from './layers.ts';
import { tlsOf } from './send.ts';

/** A request whose header fields are these, in this order, as no client would send them. */
async function withFields(target: Target, fields: Fields): Promise<Outcome> {
  const client = rawHttp2(target.port, target.way.speaks === 'h2' ? { tls: tlsOf(target) } : {});
  client.request(1, fields);
  const stream = (): ReturnType<typeof client.streams.get> => client.streams.get(1);
  await client.until(() => stream()?.ended === true || stream()?.reset !== undefined, 5_000);
  client.destroy();
  return { status: stream()?.status, body: stream()?.body ?? '' };
}

const start = [
  [':method', 'GET'],
  [':scheme', 'http'],
] as const;

/** A script for requests with these fields beside method and scheme. */
export function fieldsScript(...fields: Fields): Script {
  return (target) => withFields(target, [...start, ...fields]);
}

export const hostLayer: Layer = {
  name: 'host',
  scripts: {
    'HOST-036': fieldsScript([':path', '/'], ['host', 'secret.example']),
    'HOST-037': fieldsScript([':path', '/'], ['host', 'ok.example'], ['host', 'secret.example']),
  },
};
