import type { ReadEndpoint } from './endpoints.ts';

/** Where an endpoint is, which its own bytes do not say. */
export interface EndpointPlace {
  readonly locality: string;
  readonly priority: number;
}

/** What the bytes of one endpoint say: whether it is called, and how. */
export type EndpointPart = (
  | { readonly use: 'yes' | 'degraded'; readonly endpoint: ReadEndpoint }
  | { readonly use: 'no'; readonly endpoint?: undefined }
) & {
  /** Paths of fields in it that nobody reads. */
  readonly ignored?: readonly string[];
};

/** What one version of the endpoints of a service was read to be, endpoint by endpoint. */
export interface EndpointParts {
  readonly bytes: Buffer;
  /** Where the bytes of each begin and end. */
  readonly ranges: Uint32Array;
  readonly places: readonly EndpointPlace[];
  /** Nothing where something is to be told of an endpoint, which is told anew with each version. */
  readonly parts: readonly (EndpointPart | undefined)[];
}

/** The endpoints of a new version, one after the other. */
export interface PartsReader {
  /** The next endpoint: that of the version before, where its bytes and its place are the same, or what `read` makes of it. */
  next(place: EndpointPlace, read: () => { readonly part: EndpointPart; readonly clean: boolean }): EndpointPart;
  all(): EndpointParts;
}

/**
 * Finds the endpoints of a version in the one before it by their bytes. Where a list changed in one place only, what is
 * before and after that place is compared in order; only what is between is looked up.
 *
 * @param endpoints parts of `bytes`, in order
 */
export function createParts(
  bytes: Uint8Array,
  endpoints: readonly Uint8Array[],
  before: EndpointParts | undefined,
): PartsReader {
  const own = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ranges = new Uint32Array(2 * endpoints.length);
  for (let i = 0; i < endpoints.length; i++) {
    const { byteLength, byteOffset } = endpoints[i] as Uint8Array;
    ranges[2 * i] = byteOffset - bytes.byteOffset;
    ranges[2 * i + 1] = byteOffset - bytes.byteOffset + byteLength;
  }
  const places: EndpointPlace[] = [];
  const parts: (EndpointPart | undefined)[] = [];
  const find = before === undefined ? () => -1 : createFinder(own, ranges, before);
  return {
    next(place, read) {
      const at = find(parts.length);
      const known = at === -1 ? undefined : before?.parts[at];
      const was = before?.places[at];
      if (known !== undefined && was?.locality === place.locality && was.priority === place.priority) {
        places.push(was);
        parts.push(known);
        return known;
      }
      const { clean, part } = read();
      places.push(place);
      parts.push(clean ? part : undefined);
      return part;
    },
    all: () => ({ bytes: own, ranges, places, parts }),
  };
}

/** Position in `before` of an endpoint with the same bytes; -1 where there is none. Asked from the first to the last. */
function createFinder(bytes: Buffer, ranges: Uint32Array, before: EndpointParts): (index: number) => number {
  const count = ranges.length / 2;
  const known = before.ranges.length / 2;
  const same = (index: number, at: number): boolean => {
    const start = ranges[2 * index] as number;
    const end = ranges[2 * index + 1] as number;
    const from = before.ranges[2 * at] as number;
    const to = before.ranges[2 * at + 1] as number;
    return end - start === to - from && before.bytes.compare(bytes, start, end, from, to) === 0;
  };
  let isStart = true;
  let start = 0;
  let end = 0;
  let between: Map<string, number> | undefined;
  const textOf = (of: Buffer, all: Uint32Array, at: number): string =>
    of.toString('latin1', all[2 * at], all[2 * at + 1]);
  return (index) => {
    if (isStart) {
      isStart = index < known && same(index, index);
      if (isStart) return index;
      start = index;
      const shorter = Math.min(count, known) - start;
      while (end < shorter && same(count - 1 - end, known - 1 - end)) end++;
    }
    if (index >= count - end) return index - count + known;
    if (between === undefined) {
      between = new Map();
      for (let at = start; at < known - end; at++) between.set(textOf(before.bytes, before.ranges, at), at);
    }
    return between.get(textOf(bytes, ranges, index)) ?? -1;
  };
}
