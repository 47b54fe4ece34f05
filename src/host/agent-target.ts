import type { Duplex } from 'node:stream';
import type { HeaderChanges } from '../lib/header-edit.ts';

/** One node:http request, as far as a decision about it needs to know. */
export interface AgentRequest {
  readonly hostname: string;
  readonly port: number;
  /** The application asked for `https:`. */
  readonly secure: boolean;
  readonly method: string;
  /** With query. */
  readonly path: string;
  /** Value of a header, several joined with commas; `name` must be lower case. */
  header(name: string): string | undefined;
  /** All headers, names in lower case; one entry for each value. */
  headers(): readonly (readonly [name: string, value: string])[];
}

/** How many requests there may be at once. */
export interface AgentLimit {
  /** Requests with the same key share it. */
  readonly key: string;
  readonly atOnce: number;
  /** Further ones wait, as many as this. */
  readonly waiting: number;
  /** The error of one too many. */
  full(): Error;
}

/** A time after which a request is given up. */
export interface AgentTime {
  readonly ms: number;
  /** It ends with the head of the response, or with its last byte. */
  readonly until: 'response' | 'end';
  error(): Error;
}

/** Where one node:http request goes. */
export interface AgentTarget {
  /** Sockets with the same key are interchangeable. */
  readonly key: string;
  /** Of the route, for telemetry; absent where the mesh answers itself. */
  readonly cluster?: string;
  /** `10.0.0.7:9080`, for telemetry. */
  readonly endpoint?: string;
  /** Name of the route, for telemetry. */
  readonly route?: string;
  /** Response flag of what the mesh did before it was sent, or of its own answer; '' for none. */
  readonly flag?: string;
  /** With query, after a rewrite. */
  readonly path: string;
  /** New Host header; absent: the application's stays. */
  readonly authority?: string;
  /** Flat list name, value, name, value: set where the application has not set them. */
  readonly headers: readonly string[];
  /** Header changes of the route, in order, over whatever is there. */
  readonly changes?: readonly HeaderChanges[];
  /** Changes of the response before the application sees it; `raw` is name, value, name, value. */
  response?(status: number, raw: readonly string[]): readonly HeaderChanges[];
  /**
   * A connected `net.Socket` or `tls.TLSSocket`, its peer verified. `signal` aborts when the
   * request was given up meanwhile; a socket that arrives nevertheless is destroyed.
   */
  connect(signal: AbortSignal): Promise<Duplex>;
  /** Absent: as the agent has it for `key`. */
  readonly limit?: AgentLimit | undefined;
  readonly times?: readonly AgentTime[];
  /** The request has ended, its response included; told once. */
  ended?(): void;
  /**
   * Told exactly once: `status` when response headers arrived, else 0 with the error. The error is
   * a `MeshError` when the endpoint failed, and something else (or nothing) when the application
   * gave the request up. `stalled`: its time was over while this process was busy with something else,
   * which says nothing about the endpoint.
   */
  done(status: number, error?: Error, stalled?: boolean): void;
}

/**
 * Decides where one node:http request goes; `direct`: past the mesh. What it throws, or rejects
 * with, fails the request.
 */
export type AgentRouter = (request: AgentRequest) => Routed | RoutedLater;

/** A decision that takes time. */
export interface RoutedLater extends PromiseLike<Routed> {
  /** The request was given up: nobody waits for the decision any more. */
  giveUp?(): void;
}

export type Routed = AgentTarget | 'direct';
