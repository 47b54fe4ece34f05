import type { IncomingMessage } from 'node:http';
import { removeRequestHeader, setRequestHeader } from '../pipeline/request-headers.ts';
import { setRequestTarget } from '../pipeline/request-target.ts';
import { withoutCookie } from './cookies.ts';
import { withoutParam } from './extract.ts';
import type { TokenLocation } from './rules.ts';
import type { AcceptedToken } from './verify.ts';

/** Takes away what only the mesh may say: before anything is read, whether there is a token or not. */
export function removeOutputs(request: IncomingMessage, outputs: readonly string[]): void {
  for (let i = 0; i < outputs.length; i++) removeRequestHeader(request, outputs[i] as string);
}

/**
 * Brings a request into the form in which the application gets it: without the tokens that it is
 * not to see, with the headers that tell of them. Later tokens go before earlier ones.
 */
export function applyTokens(request: IncomingMessage, accepted: readonly AcceptedToken[]): void {
  for (let i = 0; i < accepted.length; i++) {
    const { location, verified } = accepted[i] as AcceptedToken;
    if (!verified.live.rule.forwardOriginalToken) removeToken(request, location);
  }
  for (let i = 0; i < accepted.length; i++) {
    const { headers } = (accepted[i] as AcceptedToken).verified;
    for (const [name, value] of headers) setRequestHeader(request, name, value);
  }
}

/** As Envoy: the whole header, and every query parameter of the name. Cookies too, which Envoy leaves. */
function removeToken(request: IncomingMessage, { kind, name }: TokenLocation): void {
  if (kind === 'header') removeRequestHeader(request, name);
  else if (kind === 'param') setRequestTarget(request, withoutParam(request.url ?? '', name));
  else removeCookie(request, name);
}

function removeCookie(request: IncomingMessage, name: string): void {
  const { cookie } = request.headers;
  if (cookie === undefined) return;
  const rest = withoutCookie(cookie, name);
  if (rest === undefined) removeRequestHeader(request, 'cookie');
  else if (rest !== cookie) setRequestHeader(request, 'cookie', rest);
}
