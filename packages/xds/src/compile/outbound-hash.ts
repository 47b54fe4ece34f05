import type { HashKey } from 'inmesh/model';
import type { HashPolicy } from '../proto/envoy/hash-policy.ts';
import { lineOf } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';

/** What of requests is hashed, in order (Envoy `hash_policy`). */
export function hashKeysOf(policies: readonly HashPolicy[], path: string, remarks: Remarks): readonly HashKey[] {
  return policies.flatMap((policy, index) => {
    const at = `${path}[${index}]`;
    const key = keyOf(policy, at, remarks);
    if (key === undefined) return [];
    return policy.terminal ? { ...key, terminal: true } : key;
  });
}

function keyOf(policy: HashPolicy, path: string, remarks: Remarks): HashKey | undefined {
  const { connection_properties: connection, cookie, header, query_parameter: query } = policy;
  if (header !== undefined) {
    if (header.regex_rewrite !== undefined) {
      remarks.ignored(`${path}.header.regex_rewrite`, 'the value is hashed as it is');
    }
    return { kind: 'header', name: header.header_name.toLowerCase() };
  }
  if (cookie !== undefined) {
    const { attributes, name, path: place, ttl } = cookie;
    for (const text of [name, place, ...attributes.flatMap((each) => [each.name, each.value])]) {
      lineOf(text, `${path}.cookie`);
    }
    return {
      kind: 'cookie',
      name,
      path: place,
      ...(ttl === undefined ? {} : { ttlMs: Math.max(0, ttl) }),
      attributes: attributes.map((each) => ({ name: each.name, value: each.value })),
    };
  }
  if (query !== undefined) return { kind: 'query', name: query.name };
  if (connection !== undefined) {
    if (connection.source_ip) return { kind: 'sourceIp' };
    remarks.ignored(`${path}.connection_properties`, 'nothing of it is asked for');
    return undefined;
  }
  remarks.ignored(path, 'only headers, cookies, query parameters and the source address are hashed');
  return undefined;
}
