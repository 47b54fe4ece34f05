import { fixedKeys, type KeySource, noKeys } from '../jwt/keys.ts';
import { discoveryUrl, readDiscovery } from '../lib/openid-discovery.ts';
import type { JwtRule } from '../model/request-authentication.ts';

/** What a server would answer, so that nobody has to be asked. */
export interface RemoteDocument {
  /** Default 200. */
  readonly status?: number;
  /** A text, or what is sent as JSON. */
  readonly body?: unknown;
  /** Of an extension provider that allows: what it would have the application see. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** By URL, or by name of an extension provider. */
export type RemoteDocuments = Readonly<Record<string, RemoteDocument>>;

/** Where the keys of a rule come from, and why there are none. */
export interface ExplainedKeys {
  readonly source: KeySource;
  readonly problem?: string;
}

/** Finds the keys of rules inline and among documents; nothing is fetched. */
export function remoteKeys(remote: RemoteDocuments): (rule: JwtRule) => ExplainedKeys {
  const known = new Map<JwtRule, ExplainedKeys>();
  const documents = new Map(Object.entries(remote).map(([url, document]) => [oneSpelling(url), document]));
  const read = (url: string): string => {
    const document = documents.get(oneSpelling(url));
    if (document === undefined) throw new Error(`config.remote has no ${url}`);
    const { body, status = 200 } = document;
    if (status !== 200) throw new Error(`config.remote answers ${status} for ${url}`);
    return typeof body === 'string' ? body : (JSON.stringify(body) ?? '');
  };
  const find = ({ issuer, keys }: JwtRule): KeySource => {
    if (keys.kind === 'inline') return fixedKeys(keys.jwks);
    return fixedKeys(read(keys.kind === 'uri' ? keys.uri : readDiscovery(read(discoveryUrl(issuer)), issuer)));
  };
  return (rule) => {
    let result = known.get(rule);
    if (result === undefined) {
      try {
        result = { source: find(rule) };
      } catch (error) {
        result = { source: noKeys, problem: error instanceof Error ? error.message : String(error) };
      }
      known.set(rule, result);
    }
    return result;
  };
}

function oneSpelling(url: string): string {
  return URL.parse(url)?.href ?? url;
}
