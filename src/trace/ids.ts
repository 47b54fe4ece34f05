import { randomFillSync } from 'node:crypto';
import type { SpanContext } from '../pipeline/tracing.ts';

const batchSize = 64;
/** Digits of one trace id and one span id. */
const length = 48;
const bytes = Buffer.alloc((batchSize * length) / 2);
let batch = '';
let next = batchSize;

/** A trace id and a span id in one text, cut from one long one: see `lib/uuid.ts`. */
function randomIds(): string {
  if (next === batchSize) {
    randomFillSync(bytes);
    batch = bytes.toString('hex');
    next = 0;
  }
  const at = next++ * length;
  return batch.substring(at, at + length);
}

/** The context of a trace that nobody records, from here on. Its ids are made when somebody asks for them. */
export class Unrecorded implements SpanContext {
  readonly sampled: boolean;
  readonly traceState: undefined;
  #ids: string;

  constructor() {
    this.sampled = false;
    this.traceState = undefined;
    this.#ids = '';
  }

  get traceId(): string {
    return this.#made().slice(0, 32);
  }

  get spanId(): string {
    return this.#made().slice(32);
  }

  #made(): string {
    if (this.#ids === '') this.#ids = randomIds();
    return this.#ids;
  }
}
