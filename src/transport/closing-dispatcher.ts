import { Dispatcher, errors } from 'undici';

/** What all our dispatchers share: the two ways in which they end, in undici's shapes. */
export abstract class ClosingDispatcher extends Dispatcher {
  #closed: Promise<void> | undefined;

  constructor() {
    super();
    this.#closed = undefined;
  }

  /** Has it begun to end? */
  get closing(): boolean {
    return this.#closed !== undefined;
  }

  /** Lets everything finish that was taken on. */
  protected abstract drain(): Promise<void>;

  /** Cuts everything off. */
  protected abstract cut(error: Error): Promise<void>;

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | undefined {
    this.#closed ??= this.drain();
    if (callback === undefined) return this.#closed;
    this.#closed.then(callback, callback);
    return undefined;
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | undefined {
    const callback = typeof first === 'function' ? first : second;
    const error = (typeof first === 'function' ? undefined : first) ?? new errors.ClientDestroyedError();
    const destroyed = this.cut(error);
    this.#closed ??= destroyed;
    if (callback === undefined) return destroyed;
    destroyed.then(callback, callback);
    return undefined;
  }
}
