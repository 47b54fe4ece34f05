import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type Clock, formatSpiffeBundle, systemClock } from 'inmesh/identity';
import type { Authority } from './authority-types.ts';
import { readIfThere, writePrivately } from './files.ts';

/** The bundle of an authority as others fetch it: SPIFFE Trust Domain and Bundle, section 4. */
export interface BundleDocument {
  /** JSON. */
  text(): string;
}

/** Options of {@link bundleDocument}. */
export interface BundleDocumentOptions {
  /** Folder of the authority, where the sequence is kept. Without one it begins anew with each start, but not lower. */
  readonly dir?: string;
  /** `spiffe_refresh_hint`, milliseconds. Default five minutes. */
  readonly refreshMs?: number;
  readonly clock?: Clock;
}

/** The number of a content. */
interface Numbered {
  readonly sequence: bigint;
  readonly digest: string;
}

const fileName = 'bundle-sequence.json';

/**
 * The bundle document of an authority: the roots of its own trust domain, never those of others.
 * `spiffe_sequence` grows with every change, also over restarts: it counts seconds, or one more
 * where that would be too few, so that a number that was lost is not given twice.
 */
export function bundleDocument(authority: Authority, options: BundleDocumentOptions = {}): BundleDocument {
  const { clock = systemClock, dir, refreshMs = 300_000 } = options;
  let last = dir === undefined ? undefined : stored(join(dir, fileName));
  let written: { readonly digest: string; readonly text: string } | undefined;
  return {
    text: () => {
      const roots = authority.ownBundles.get(authority.trustDomain) ?? [];
      const digest = createHash('sha256').update(roots.join('')).digest('hex');
      if (written?.digest === digest) return written.text;
      if (last?.digest !== digest) {
        last = { sequence: nextSequence(last, clock), digest };
        if (dir !== undefined) {
          writePrivately(join(dir, fileName), `${JSON.stringify({ ...last, sequence: String(last.sequence) })}\n`);
        }
      }
      const { sequence } = last;
      const text = formatSpiffeBundle({
        x509Authorities: roots,
        jwtAuthorities: [],
        sequence,
        refreshHintMs: refreshMs,
      });
      written = { digest, text };
      return text;
    },
  };
}

function nextSequence(last: Numbered | undefined, clock: Clock): bigint {
  const seconds = BigInt(Math.floor(clock.wallNow() / 1_000));
  return last !== undefined && last.sequence >= seconds ? last.sequence + 1n : seconds;
}

function stored(path: string): Numbered | undefined {
  try {
    const { digest, sequence } = JSON.parse(readIfThere(path) ?? '') as Partial<Record<string, unknown>>;
    if (typeof digest === 'string' && typeof sequence === 'string' && /^[0-9]{1,20}$/.test(sequence)) {
      return { digest, sequence: BigInt(sequence) };
    }
  } catch {
    // The same as none.
  }
  return undefined;
}
