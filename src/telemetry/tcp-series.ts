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
  readonly #open: Set<CountingStream>;
  #opened: number;
  #closed: number;
  #sent: number;
  #received: number;

  constructor(labels: SeriesLabels, revive: (series: BoundTcpSeries) => BoundTcpSeries) {
    this.labels = labels;
    this.evicted = false;
    this.#revive = revive;
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
    const place = this.evicted ? this.#revive(this) : this;
    place.#opened++;
    place.#open.add(stream);
    stream.once('close', () => {
      place.#open.delete(stream);
      place.#ended(stream);
    });
  }

  #ended(stream: CountingStream): void {
    const place = this.evicted ? this.#revive(this) : this;
    place.#closed++;
    place.#sent += sentOn(this.labels, stream);
    place.#received += receivedOn(this.labels, stream);
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
