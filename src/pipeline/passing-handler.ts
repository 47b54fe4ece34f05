import type { Duplex } from 'node:stream';
import type { Handler, ResponseHeaders } from './client-call.ts';

type Controller = Parameters<NonNullable<Handler['onResponseData']>>[0];

/** Stands in front of a handler and hands everything on: what a filter overrides is what it looks at. */
export class PassingHandler implements Handler {
  readonly inner: Handler;

  constructor(inner: Handler) {
    this.inner = inner;
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.inner.onRequestStart?.(controller, context);
  }

  onRequestUpgrade(controller: Controller, status: number, headers: ResponseHeaders, socket: Duplex): void {
    this.inner.onRequestUpgrade?.(controller, status, headers as never, socket);
  }

  onResponseStart(controller: Controller, status: number, headers: ResponseHeaders, statusText?: string): void {
    this.inner.onResponseStart?.(controller, status, headers as never, statusText);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.inner.onResponseData?.(controller, chunk);
  }

  onResponseEnd(controller: Controller, trailers: ResponseHeaders): void {
    this.inner.onResponseEnd?.(controller, trailers as never);
  }

  onResponseError(controller: Controller, error: Error): void {
    this.inner.onResponseError?.(controller, error);
  }

  onResponseStarted(): void {
    this.inner.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    this.inner.onBodySent?.(chunk as never);
  }

  onRequestSent(): void {
    this.inner.onRequestSent?.();
  }
}
