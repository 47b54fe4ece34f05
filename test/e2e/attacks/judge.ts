import { type Attack, type Expected, headersOf } from './catalogue.ts';
import type { Outcome } from './layers.ts';
import type { Seen, Way } from './ways.ts';

/** What is said of a cell. */
export interface Verdict {
  readonly verdict: 'pass' | 'fail' | 'n/a';
  /** Why it failed or does not apply; else the status. */
  readonly detail: string;
}

/** Headers that HTTP/2 does not have (RFC 9113 section 8.2.2); what becomes of them is `H2-018`. */
const connectionHeaders = /^(connection|transfer-encoding|upgrade|keep-alive|proxy-connection)$/i;

/** Why a case does not concern a way; nothing when it does. */
export function whyNot({ input, except }: Attack, way: Way, scripted: boolean): string | undefined {
  const said = find(except, way);
  if (said !== undefined) return said;
  const http1 = way.speaks === 'HTTP/1.1';
  if (way.grpc === true && !scripted) {
    if (input.method !== undefined && !/^(GET|POST)$/.test(input.method)) return 'calls of gRPC are POST';
    if (headersOf(input).some(([name]) => /^(content-type|te)$/i.test(name))) return 'calls of gRPC have their own';
  }
  switch (input.kind) {
    case 'http1-raw':
    case 'raw':
      return http1 ? undefined : 'bytes of HTTP/1.1';
    case 'http2':
    case 'http2-raw':
      return http1 ? 'frames of HTTP/2' : undefined;
    case 'h2c':
      return way.speaks === 'h2c' ? undefined : 'HTTP/2 without TLS';
    case 'http1-mtls':
      return way.speaks === 'h2c' ? 'needs TLS' : undefined;
    case 'http1':
      if (!http1 && headersOf(input).some(([name]) => connectionHeaders.test(name))) return 'no such header in HTTP/2';
      if (way.speaks === 'h2' && input.plaintext) return 'about plaintext';
      return way.speaks === 'h2c' && input.peer !== undefined ? 'needs TLS' : undefined;
    default:
      return scripted ? undefined : `kind ${input.kind} needs a script`;
  }
}

function find<T>(by: Readonly<Record<string, T>> | undefined, { name }: Way): T | undefined {
  const key = Object.keys(by ?? {}).find((part) => name.includes(part));
  return key === undefined ? undefined : by?.[key];
}

/** Whether the decision was taken that must be. */
export function judge(attack: Attack, way: Way | undefined, outcome: Outcome): Verdict {
  const problem = outcome.problem ?? problemOf(attack, way, outcome);
  if (problem !== undefined) return { verdict: 'fail', detail: problem };
  const wanted = attack.expected.status;
  const early = way?.server.routesFirst === true && outcome.status === 400 && wanted !== 400;
  return {
    verdict: 'pass',
    detail: early ? `400 in place of ${wanted ?? attack.expected.decision}` : String(outcome.status ?? 'ended'),
  };
}

function problemOf(
  attack: Attack,
  way: Way | undefined,
  { status, body = '', sanitised }: Outcome,
): string | undefined {
  const expected: Expected = (way && find(attack.instead, way)) ?? attack.expected;
  const seen = seenOf(body);
  const wrong = `expected ${expected.decision} ${expected.status ?? ''}, got ${status ?? 'no answer'}`;
  const refused = status === undefined || status >= 400;
  switch (expected.decision) {
    case 'allow':
    case 'sanitise':
    case 'ignore': {
      // What is not in canonical form is no request for a router that has chosen before.
      if (way?.server.routesFirst === true && status === 400) return undefined;
      if (status !== (expected.status ?? 200)) return wrong;
      if (/deny-admin/.test(attack.config) && seen?.handler === 'admin') return 'the handler that is denied has run';
      return expected.decision === 'sanitise' && sanitised !== true ? leftOf(attack, seen) : undefined;
    }
    case 'deny':
    case 'unauthenticated':
    case 'reject':
      if (!refused) return seen === undefined ? wrong : `${wrong}: the application has run`;
      if (seen !== undefined) return 'the application has run';
      if (expected.status === undefined || status === expected.status) return undefined;
      if (way?.server.routesFirst === true && status === 400) return undefined;
      return wrong;
    case 'reset':
      return status === undefined ? undefined : wrong;
    case 'bounded':
      return expected.status === undefined || status === expected.status ? undefined : wrong;
    case 'refuse-config':
      return status === undefined || status >= 400 ? undefined : wrong;
    default:
      return `the runner cannot judge ${expected.decision}: the case needs a script that does`;
  }
}

function seenOf(body: string): Seen | undefined {
  try {
    const value = JSON.parse(body) as Seen;
    return typeof value === 'object' && value !== null && 'handler' in value ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What the application still sees of forged headers. */
function leftOf({ input }: Attack, seen: Seen | undefined): string | undefined {
  if (seen === undefined) return 'the application did not show what it saw';
  const text = JSON.stringify([seen.headers, seen.raw, seen.distinct]);
  const left = headersOf(input).find(([, value]) => text.includes(`"${value}"`));
  if (left !== undefined) return `${left.join(': ')} is left`;
  if (input.peer !== undefined && !text.includes(`URI=${input.peer}`)) return 'the application does not see who called';
  return undefined;
}
