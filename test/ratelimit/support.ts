import type { IncomingMessage, ServerResponse } from 'node:http';
import { MeshError } from '../../src/errors.ts';
import type { GlobalRateLimit, LocalRateLimit } from '../../src/model/rate-limit.ts';

const provenance = { kind: 'RateLimit', namespace: 'shop', name: 'r' };

/** A limit of two requests, of which one comes back in each second. */
export function localLimit(more: Partial<LocalRateLimit> = {}): LocalRateLimit {
  return {
    name: 'shop/r all',
    rules: [],
    by: [],
    bucket: { maxTokens: 2, tokensPerFill: 1, fillIntervalMs: 1_000 },
    maxKeys: 100,
    shadow: false,
    headers: 'LIMITED',
    provenance,
    ...more,
  };
}

export function globalLimit(more: Partial<GlobalRateLimit> = {}): GlobalRateLimit {
  return {
    name: 'shop/r global',
    service: 'limits:8081',
    domain: 'shop',
    timeoutMs: 20,
    failOpen: true,
    shadow: false,
    headers: 'LIMITED',
    descriptors: [{ rules: [], entries: [{ key: 'path', value: { kind: 'path' } }] }],
    provenance,
    ...more,
  };
}

/** An application that says hello. */
export const hello = (_request: IncomingMessage, response: ServerResponse): void => void response.end('hello');

/** The code with which something failed. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return '';
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
}
