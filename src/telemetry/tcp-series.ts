import type { SeriesLabels } from './labels.ts';

/** What a connection tells of itself: sockets do. */
export interface CountingStream {
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  once(event: 'close', listener: () => void): unknown;
}

/** Connections with the same labels. */
export interface TcpSeries {
  readonly labels: SeriesLabels;
  /** A connection is open; counts its bytes, and its end, by itself. */
  watch(stream: CountingStream): void;
}

/** Everything counted so far; names follow Istio's metrics of TCP. Counters only grow. */
export interface TcpSeriesSnapshot {
  readonly labels: SeriesLabels;
  readonly opened: number;
  readonly closed: number;
  /** What servers have sent to clients (Istio: `sent` is towards the downstream), whichever side reports. */
  readonly sentBytes: number;
  /** What clients have sent. */
  readonly receivedBytes: number;
}

export class BoundTcpSeries implements TcpSeries {
  readonly labels: SeriesLabels;
  evicted: boolean;
  readonly #revive: (series: BoundTcpSeries) => BoundTcpSeries;
  /** Once another has taken over: that one. */
  #instead: BoundTcpSeries | undefined;
  readonly #open: Set<CountingStream>;
  #opened: number;
  #closed: number;
  #sent: number;
  #received: number;

  constructor(labels: SeriesLabels, revive: (series: BoundTcpSeries) => BoundTcpSeries) {
    this.labels = labels;
    this.evicted = false;
    this.#revive = revive;
    this.#instead = undefined;
    this.#open = new Set();
    this.#opened = 0;
    this.#closed = 0;
    this.#sent = 0;
    this.#received = 0;
  }

  /** Grows with use. */
  get requests(): number {
    return this.#opened + this.#closed + (this.#open.size > 0 ? this.#sentNow() + this.#receivedNow() : 0);
  }

  watch(stream: CountingStream): void {
    const place = this.#place();
    place.#opened++;
    place.#open.add(stream);
    stream.once('close', () => {
      const now = place.#place();
      place.#open.delete(stream);
      now.#open.delete(stream);
      now.#closed++;
      now.#sent += sentOn(this.labels, stream);
      now.#received += receivedOn(this.labels, stream);
    });
  }

  /** Takes over what another has counted, with its connections: nothing is left of it. */
  absorb(other: BoundTcpSeries): void {
    this.#opened += other.#opened;
    this.#closed += other.#closed;
    this.#sent += other.#sent;
    this.#received += other.#received;
    for (const stream of other.#open) this.#open.add(stream);
    other.#open.clear();
    other.#opened = other.#closed = other.#sent = other.#received = 0;
    other.evicted = true;
    other.#instead = this;
  }

  #place(): BoundTcpSeries {
    if (!this.evicted) return this;
    if (this.#instead === undefined || this.#instead.evicted) this.#instead = this.#revive(this);
    return this.#instead;
  }

  snapshot(): TcpSeriesSnapshot {
    return {
      labels: this.labels,
      opened: this.#opened,
      closed: this.#closed,
      sentBytes: this.#sent + this.#sentNow(),
      receivedBytes: this.#received + this.#receivedNow(),
    };
  }

  #sentNow(): number {
    let sum = 0;
    for (const stream of this.#open) sum += sentOn(this.labels, stream);
    return sum;
  }

  #receivedNow(): number {
    let sum = 0;
    for (const stream of this.#open) sum += receivedOn(this.labels, stream);
    return sum;
  }
}

/**
 * Envoy's meters are those of the side that called: received is what came from the client, sent what went
 * back to it. Here the client's own socket has it the other way round.
 */
function sentOn({ reporter }: SeriesLabels, { bytesRead = 0, bytesWritten = 0 }: CountingStream): number {
  return reporter === 'source' ? bytesRead : bytesWritten;
}

function receivedOn({ reporter }: SeriesLabels, { bytesRead = 0, bytesWritten = 0 }: CountingStream): number {
  return reporter === 'source' ? bytesWritten : bytesRead;
}
