import { hash } from 'node:crypto';
import type { OutboundPolicy } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { ConfigDocument } from './document.ts';

const digests = new WeakMap<ConfigDocument, string>();

/** The same input has the same version, in every process. */
export function versionOf(
  contents: readonly string[],
  { outboundPolicy, workload }: { readonly workload: Workload; readonly outboundPolicy?: OutboundPolicy },
): string {
  return hash('sha256', JSON.stringify([workload, outboundPolicy]) + contents.join('')).slice(0, 12);
}

/** Stands for the content of a document. */
export function digestOf(document: ConfigDocument): string {
  let digest = digests.get(document);
  if (digest === undefined) {
    digest = hash('sha256', JSON.stringify(document.value) ?? '', 'base64').slice(0, 16);
    digests.set(document, digest);
  }
  return digest;
}

/** Another document has the same content. */
export function shareDigest(from: ConfigDocument, to: ConfigDocument): void {
  const digest = digests.get(from);
  if (digest !== undefined) digests.set(to, digest);
}
