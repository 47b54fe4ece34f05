import { Readable } from 'node:stream';

/** A message that waits to be sent, and who wants to know when it is on its way. */
interface Pending {
  readonly frame: Buffer;
  readonly accepted: (() => void) | undefined;
}

/**
 * The messages of one call on their way into a request. Those that are complete before the request is
 * sent are one buffer, which can be sent as often as it takes; others are a stream at the pace of the
 * other side.
 */
export class RequestBody {
  readonly #pending: Pending[];
  #ended: boolean;
  #view: BodyView | undefined;
  #closed: boolean;

  constructor() {
    this.#pending = [];
    this.#ended = false;
    this.#view = undefined;
    this.#closed = false;
  }

  /** Can it be opened again, as nothing of it was read? */
  get untouched(): boolean {
    return this.#view === undefined || !this.#view.taken;
  }

  write(frame: Buffer, accepted: (() => void) | undefined): void {
    if (this.#closed) {
      if (accepted !== undefined) process.nextTick(accepted);
      return;
    }
    this.#pending.push({ frame, accepted });
    this.#view?.more();
  }

  end(): void {
    this.#ended = true;
    this.#view?.more();
  }

  /** What a request is sent with. */
  open(): Buffer | Readable {
    if (this.#ended && this.#view === undefined) {
      const whole = this.#pending.length === 1 ? (this.#pending[0] as Pending).frame : this.#whole();
      for (const { accepted } of this.#pending) if (accepted !== undefined) process.nextTick(accepted);
      this.#pending.splice(0, this.#pending.length, { frame: whole, accepted: undefined });
      return whole;
    }
    const view = new BodyView(() => this.#next());
    this.#view = view;
    return view;
  }

  /** Nobody wants it any more: who waits is told, so that it stops waiting. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { accepted } of this.#pending.splice(0)) if (accepted !== undefined) process.nextTick(accepted);
  }

  #whole(): Buffer {
    return Buffer.concat(this.#pending.map(({ frame }) => frame));
  }

  #next(): Buffer | 'wait' | 'end' {
    const next = this.#pending.shift();
    if (next === undefined) return this.#ended ? 'end' : 'wait';
    if (next.accepted !== undefined) process.nextTick(next.accepted);
    return next.frame;
  }
}

/** The messages as a stream that takes one when somebody reads, and not before. */
class BodyView extends Readable {
  /** Has anything been taken? */
  taken: boolean;
  readonly #next: () => Buffer | 'wait' | 'end';
  #wanting: boolean;

  constructor(next: () => Buffer | 'wait' | 'end') {
    super({ highWaterMark: 16_384 });
    this.taken = false;
    this.#next = next;
    this.#wanting = false;
  }

  more(): void {
    if (this.#wanting && !this.destroyed) this._read();
  }

  override _read(): void {
    for (;;) {
      const next = this.#next();
      this.#wanting = next === 'wait';
      if (next === 'wait') return;
      if (next === 'end') {
        this.push(null);
        return;
      }
      this.taken = true;
      if (!this.push(next)) return;
    }
  }
}
