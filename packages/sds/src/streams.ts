import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { type Logger, printable } from 'inmesh/identity';
import { type DeltaRequest, type DeltaResponse, readDeltaRequest, writeDeltaResponse } from './delta.ts';
import {
  type DiscoveryRequest,
  type ErrorDetail,
  maxResources,
  readDiscoveryRequest,
  secretType,
  writeDiscoveryResponse,
} from './discovery.ts';
import type { ServedSecret } from './served.ts';

/** One stream of a client, apart from gRPC: requests come in, answers go out. */
export interface SecretStream {
  /** A message of the client. */
  received(bytes: Buffer): void;
  /** There are other secrets than before. */
  changed(): void;
}

/** What a stream needs. */
export interface StreamContext {
  /** The secrets as of now; nothing while there is no identity. */
  current(): ReadonlyMap<string, ServedSecret> | undefined;
  /** Why a name will never be served; nothing when it may be. */
  whyNot(name: string): string | undefined;
  send(bytes: Buffer): void;
  /** Ends the stream with a status. */
  fail(code: status, message: string): void;
  readonly logger: Logger;
}

/** A refusal that the client gets as the status of its stream. */
class Refusal extends Error {}

/**
 * State of the world (`StreamSecrets`): every answer has all secrets that were asked for. After an
 * answer nothing is sent until it was accepted or refused, so that a client that is slow gets the
 * newest secrets and not all of them; what was refused is not sent again.
 */
export function stateOfTheWorld(context: StreamContext): SecretStream {
  let nodeId = '';
  let names: readonly string[] = [];
  let nonce: string | undefined;
  let answered = true;
  let sent = '';

  const push = (): void => {
    const secrets = context.current();
    if (secrets === undefined || names.length === 0 || !answered) return;
    const chosen = names.map((name) => secretNamed(secrets, name));
    const versions = chosen.map(({ name, version }) => `${name}=${version}`).join(' ');
    if (versions === sent) return;
    sent = versions;
    nonce = newNonce();
    answered = false;
    const versionInfo = chosen.length === 1 ? (chosen[0] as ServedSecret).version : digest(chosen);
    context.send(
      writeDiscoveryResponse({ versionInfo, typeUrl: secretType, nonce, resources: chosen.map((one) => one.resource) }),
    );
    context.logger.debug({ nodeId, versionInfo, names }, 'secrets sent');
  };

  const take = (request: DiscoveryRequest): void => {
    checkType(request.typeUrl);
    if (request.nodeId !== '') nodeId = printable(request.nodeId);
    if (nonce !== undefined && request.responseNonce !== '' && request.responseNonce !== nonce) {
      context.logger.debug({ nodeId }, 'an answer to secrets that are not the last ones was passed over');
      return;
    }
    if (nonce !== undefined && request.responseNonce === nonce) {
      answered = true;
      logVerdict(context.logger, { nodeId, versionInfo: printable(request.versionInfo) }, request.errorDetail);
    }
    const wanted = [...new Set(request.resourceNames)];
    for (const name of wanted) checkName(context, name);
    const before = names;
    names = wanted;
    // Fewer names are no reason to send anything; new ones are, whatever was sent before.
    if (wanted.some((name) => !before.includes(name))) {
      sent = '';
      answered = true;
    } else if (wanted.length < before.length) {
      const secrets = context.current();
      sent =
        secrets === undefined ? '' : wanted.map((name) => `${name}=${secretNamed(secrets, name).version}`).join(' ');
    }
    push();
  };
  return guarded(context, (bytes) => take(readDiscoveryRequest(bytes)), push);
}

/** Incremental (`DeltaSecrets`): an answer has what is new to the client. */
export function delta(context: StreamContext): SecretStream {
  let nodeId = '';
  /** What is asked for, with the version that the client has. */
  const names = new Map<string, string | undefined>();
  let nonce: string | undefined;
  let answered = true;

  const push = (): void => {
    const secrets = context.current();
    if (secrets === undefined || !answered) return;
    const resources = [...names.keys()]
      .map((name) => secretNamed(secrets, name))
      .filter(({ name, version }) => names.get(name) !== version);
    if (resources.length === 0) return;
    for (const { name, version } of resources) names.set(name, version);
    nonce = newNonce();
    answered = false;
    const response: DeltaResponse = { systemVersionInfo: digest(resources), typeUrl: secretType, nonce, resources };
    context.send(writeDeltaResponse(response));
    context.logger.debug({ nodeId, names: resources.map(({ name }) => name) }, 'secrets sent');
  };

  const take = (request: DeltaRequest): void => {
    checkType(request.typeUrl);
    if (request.nodeId !== '') nodeId = printable(request.nodeId);
    if (nonce !== undefined && request.responseNonce === nonce) {
      answered = true;
      logVerdict(context.logger, { nodeId }, request.errorDetail);
    }
    for (const name of request.unsubscribe) names.delete(name);
    for (const name of request.subscribe) {
      checkName(context, name);
      if (names.size >= maxResources && !names.has(name)) throw new Refusal(`more than ${maxResources} names`);
      // A name that is asked for again is answered again: the client has dropped what it had.
      names.set(name, request.initialVersions.get(name));
    }
    push();
  };
  return guarded(context, (bytes) => take(readDeltaRequest(bytes)), push);
}

/** `FetchSecrets`: one answer to one request. @throws Error saying what is wrong with the request */
export function fetchOnce(bytes: Buffer, context: Omit<StreamContext, 'send' | 'fail'>): Buffer | undefined {
  const request = readDiscoveryRequest(bytes);
  checkType(request.typeUrl);
  const names = [...new Set(request.resourceNames)];
  for (const name of names) checkName(context, name);
  const secrets = context.current();
  if (secrets === undefined) return undefined;
  const chosen = names.map((name) => secretNamed(secrets, name));
  const resources = chosen.map((one) => one.resource);
  return writeDiscoveryResponse({ versionInfo: digest(chosen), typeUrl: secretType, nonce: '', resources });
}

function guarded(context: StreamContext, take: (bytes: Buffer) => void, push: () => void): SecretStream {
  const guard = (action: () => void): void => {
    try {
      action();
    } catch (error) {
      context.fail(status.INVALID_ARGUMENT, error instanceof Error ? error.message.slice(0, 1_000) : String(error));
    }
  };
  return { received: (bytes) => guard(() => take(bytes)), changed: () => guard(push) };
}

function checkType(typeUrl: string): void {
  if (typeUrl !== '' && typeUrl !== secretType) {
    throw new Refusal(`this server has ${secretType} only, not ${printable(typeUrl)}`);
  }
}

function checkName(context: Pick<StreamContext, 'whyNot'>, name: string): void {
  const why = context.whyNot(name);
  if (why !== undefined) throw new Refusal(why);
}

function secretNamed(secrets: ReadonlyMap<string, ServedSecret>, name: string): ServedSecret {
  const found = secrets.get(name);
  if (found === undefined) throw new Refusal(noSuchSecret(name, secrets.keys()));
  return found;
}

/** What a client is told that asks for a secret that is not there. */
export function noSuchSecret(name: string, known: Iterable<string>): string {
  return `there is no secret ${JSON.stringify(printable(name))}; there are ${[...known].join(', ')}`;
}

function logVerdict(logger: Logger, fields: object, detail: ErrorDetail | undefined): void {
  if (detail === undefined) logger.debug(fields, 'secrets accepted');
  else logger.warn({ ...fields, code: detail.code, error: printable(detail.message) }, 'secrets refused by the client');
}

function digest(secrets: readonly ServedSecret[]): string {
  return secrets.map(({ version }) => version).join('.');
}

function newNonce(): string {
  return randomBytes(8).toString('hex');
}
