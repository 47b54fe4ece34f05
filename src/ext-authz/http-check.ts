import type { HttpChecks } from '../model/external-authorizer.ts';
import { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
import { isFixed } from './apply.ts';
import { partialBodyHeader } from './attributes.ts';
import type { AuthorizationVerdict, CheckAttributes, HeaderMutation } from './service.ts';

/** The request that asks: that of the caller without most of its headers. */
export interface HttpQuestion {
  readonly method: string;
  readonly path: string;
  /** Name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: Buffer | undefined;
}

/** What came back. */
export interface HttpAnswer {
  readonly status: number;
  /** Name in lower case, value. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
}

/** How one `envoyExtAuthzHttp` is asked, and understood; compiled once for each configuration. */
export interface HttpProtocol {
  question(attributes: CheckAttributes): HttpQuestion;
  verdict(answer: HttpAnswer): AuthorizationVerdict;
}

/** Go along whatever the configuration says; method, path and host are those of the request itself. */
const alwaysSent: ReadonlySet<string> = new Set(['authorization', partialBodyHeader]);
/** With a list of headers for the caller, these are in it anyway. */
const alwaysToDenied: ReadonlySet<string> = new Set(['www-authenticate', 'location']);
/** By this an authorizer asks for headers of the request to be taken away. */
const removalHeader = 'x-envoy-auth-headers-to-remove';

const nothing = Buffer.alloc(0);

export function compileHttpChecks(checks: HttpChecks): HttpProtocol {
  const sent = anyName(checks.requestHeaders);
  const toUpstream = anyName(checks.toUpstreamOnAllow);
  const toAllowed = anyName(checks.toDownstreamOnAllow);
  const toDenied = checks.toDownstreamOnDeny.length === 0 ? () => true : anyName(checks.toDownstreamOnDeny);
  const added = new Set(checks.addedHeaders.map(([name]) => name.toLowerCase()));
  const more = checks.addedHeaders.flat();

  return {
    question({ body, headers, host, method, path }) {
      const list = ['host', host];
      for (const [name, value] of headers) {
        // Said anew for the question, or about a connection that is not this one.
        if (isFixed(name) || added.has(name)) continue;
        if (alwaysSent.has(name) || sent(name)) list.push(name, value);
      }
      list.push(...more);
      const bytes = body?.bytes.length ? body.bytes : undefined;
      // `OPTIONS *` is about the server as a whole, and no client sends it with a path in front.
      const asked = checks.pathPrefix + (path.startsWith('/') ? path : `/${path}`);
      return { method, path: asked, headers: list, body: bytes };
    },
    verdict({ body, headers, status }) {
      // As in Envoy: these say that the authorizer is not well, and nothing about the request.
      if (status >= 500) return { kind: 'error', headers: [], body: nothing };
      const said = headers.filter(([name]) => name !== removalHeader);
      if (status !== 200) {
        const kept = said.filter(
          ([name]) => !isFixed(name) && name !== 'date' && (toDenied(name) || alwaysToDenied.has(name)),
        );
        return { kind: 'deny', status, headers: repeatable(kept), body };
      }
      return {
        kind: 'allow',
        requestHeaders: said.filter(([name]) => toUpstream(name)).map(([name, value]) => overwrite(name, value)),
        removedHeaders: removed(headers),
        responseHeaders: said
          .filter(([name]) => toAllowed(name))
          .map(([name, value]): HeaderMutation => ({ name, value, action: 'append' })),
      };
    },
  };
}

const overwrite = (name: string, value: string): HeaderMutation => ({ name, value, action: 'overwrite' });

/** The first of a name replaces what is there, the others are added: `set-cookie` comes more than once. */
function repeatable(headers: readonly (readonly [string, string])[]): readonly HeaderMutation[] {
  const seen = new Set<string>();
  return headers.map(([name, value]): HeaderMutation => {
    const action = seen.has(name) ? 'append' : 'overwrite';
    seen.add(name);
    return { name, value, action };
  });
}

function removed(headers: readonly (readonly [string, string])[]): readonly string[] {
  return headers
    .filter(([name]) => name === removalHeader)
    .flatMap(([, value]) => value.split(','))
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
}

function anyName(matches: readonly StringMatch[]): StringPredicate {
  const predicates = matches.map((match) => compileStringMatch(match, true));
  return (name) => predicates.some((test) => test(name));
}
