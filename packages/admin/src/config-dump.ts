import type { Snapshot } from 'inmesh/config';
import { isSecretName, redacted, redactText } from 'inmesh/config';

/**
 * A snapshot as plain data for people, without secrets. Left out by what it is, whatever its name:
 * values of headers that are set, added or sent, bodies, keys given inline, passwords and queries of URLs. Left
 * out by its name: what headers like `authorization` or `x-api-key` are compared with. Everywhere: private keys,
 * bearer tokens.
 */
export function dumpSnapshot(snapshot: Snapshot): unknown {
  return new Dump().plain(snapshot, '');
}

const known = new WeakMap<Snapshot, readonly string[]>();

/** Takes out of a text what {@link dumpSnapshot} leaves out, as far as it is long enough to be a secret. */
export function withoutSecrets(snapshot: Snapshot | undefined, value: unknown): unknown {
  if (snapshot === undefined) return value;
  let secrets = known.get(snapshot);
  if (secrets === undefined) {
    const dump = new Dump();
    dump.plain(snapshot, '');
    secrets = [...dump.hidden].filter((each) => each.length >= 8).sort((a, b) => b.length - a.length);
    known.set(snapshot, secrets);
  }
  return masked(value, secrets);
}

function masked(value: unknown, secrets: readonly string[]): unknown {
  if (typeof value === 'string') {
    return redactText(secrets.reduce((text, secret) => text.replaceAll(secret, redacted), value));
  }
  if (Array.isArray(value)) return value.map((item) => masked(item, secrets));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, secrets)]));
}

/** One walk through a snapshot. */
class Dump {
  /** Texts that were left out. */
  readonly hidden = new Set<string>();
  readonly #above = new Set<object>();

  plain(value: unknown, key: string): unknown {
    if (typeof value === 'string') return this.#text(value, key);
    if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
    if (typeof value === 'boolean' || value === null) return value;
    if (typeof value === 'bigint') return String(value);
    if (typeof value !== 'object') return undefined;
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (this.#above.has(value)) return '[see above]';
    this.#above.add(value);
    const result = this.#container(value, key);
    this.#above.delete(value);
    return result;
  }

  #container(value: object, key: string): unknown {
    if (Array.isArray(value)) {
      if (key === 'addedHeaders') return value.map(([name, sent]: readonly unknown[]) => [name, this.#hide(sent)]);
      return value.map((item) => this.plain(item, ''));
    }
    if (value instanceof Set) return [...value].map((item) => this.plain(item, ''));
    if (value instanceof Map) {
      return Object.fromEntries([...value].map(([name, item]) => [String(name), this.plain(item, '')]));
    }
    const { name } = value as { readonly name?: unknown };
    const secret = typeof name === 'string' && isSecretName(name);
    return Object.fromEntries(
      Object.entries(value).map(([field, item]) => [
        field,
        hides(value, field, secret) ? this.#hide(item) : this.plain(item, field),
      ]),
    );
  }

  #text(value: string, key: string): string {
    if (key === 'body') {
      this.hidden.add(value);
      return `[${Buffer.byteLength(value)} bytes]`;
    }
    if (key === 'jwks') return '[inline]';
    return redactText(withoutUrlSecrets(value));
  }

  #hide(value: unknown): string {
    for (const each of typeof value === 'object' && value !== null ? textsIn(value) : [value]) {
      if (typeof each === 'string') this.hidden.add(each);
    }
    return redacted;
  }
}

function textsIn(value: object): readonly string[] {
  return Object.entries(value).flatMap(([key, item]) => {
    // How it is compared is no secret.
    if (typeof item === 'string') return key === 'kind' ? [] : [item];
    return typeof item === 'object' && item !== null ? textsIn(item) : [];
  });
}

/** `{ name, value }` sets something; `{ name, match }` and conditions with values compare it. */
function hides(value: object, field: string, secretlyNamed: boolean): boolean {
  if (field === 'value' && 'name' in value) return true;
  if (secretlyNamed && (field === 'match' || field === 'values' || field === 'notValues')) return true;
  return isSecretName(field);
}

/** What stands before an `@`, and behind a `?`, in what is a URL. */
function withoutUrlSecrets(value: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) return value;
  return value.replace(/^([a-z0-9+.-]+:\/\/)[^/?#@]*@/i, '$1').replace(/\?.*$/s, `?${redacted}`);
}
