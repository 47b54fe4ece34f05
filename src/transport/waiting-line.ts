import { AsyncResource } from 'node:async_hooks';
import type { Dispatcher } from 'undici';
import type { Passenger } from './connection.ts';

/** Where a request waits before it has a connection. */
export interface Place {
  /** It waits no longer: its call was stopped. */
  leave(): void;
}

/** Requests that wait for a connection, first come, first served. Who gives up leaves at once. */
export class WaitingLine {
  length: number;
  #first: Waiting | undefined;
  #last: Waiting | undefined;
  /** One of them gave up. */
  readonly #left: () => void;

  constructor(left: () => void) {
    this.length = 0;
    this.#first = undefined;
    this.#last = undefined;
    this.#left = left;
  }

  push(options: Dispatcher.DispatchOptions, handler: Passenger): void {
    const waiting = new Waiting(this, options, handler);
    handler.place = waiting;
    waiting.previous = this.#last;
    if (this.#last === undefined) this.#first = waiting;
    else this.#last.next = waiting;
    this.#last = waiting;
    this.length++;
  }

  /** Takes the one who has waited longest. */
  shift(): Waiting | undefined {
    const first = this.#first;
    if (first !== undefined) this.#unlink(first);
    return first;
  }

  /** Takes out one that gave up. */
  remove(waiting: Waiting): void {
    if (waiting.handler.place !== waiting) return;
    this.#unlink(waiting);
    this.#left();
  }

  #unlink(waiting: Waiting): void {
    const { next, previous } = waiting;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    waiting.previous = undefined;
    waiting.next = undefined;
    waiting.handler.place = undefined;
    this.length--;
  }
}

/** A request that waits, in the asynchronous context of its caller. */
export class Waiting extends AsyncResource implements Place {
  readonly options: Dispatcher.DispatchOptions;
  readonly handler: Passenger;
  previous: Waiting | undefined;
  next: Waiting | undefined;
  readonly #line: WaitingLine;

  constructor(line: WaitingLine, options: Dispatcher.DispatchOptions, handler: Passenger) {
    super('inmesh.waiting');
    this.#line = line;
    this.options = options;
    this.handler = handler;
    this.previous = undefined;
    this.next = undefined;
  }

  leave(): void {
    this.#line.remove(this);
  }
}
