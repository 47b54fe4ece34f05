import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { schemeOf, schemeOfRequest } from './go-url.ts';
import type { Resource } from './resource.ts';
import { type Targets, validateTargets } from './validate-targets.ts';

interface WasmSpec {
  readonly url: string;
  readonly vmConfig?: {
    readonly env?: readonly { readonly name: string; readonly valueFrom?: string; readonly value?: string }[];
  };
}

interface Matching {
  readonly match?: readonly { readonly ports?: readonly { readonly number: number }[] }[];
}

export interface WasmPluginBody {
  readonly spec: Targets & WasmSpec & Matching;
}

export interface TrafficExtensionBody {
  readonly spec: Targets & Matching & { readonly wasm?: WasmSpec; readonly lua?: unknown };
}

/** The rules of Istio's webhook for a WasmPlugin. */
export function validateWasmPlugin(resource: Resource<WasmPluginBody>, collector: Collector): void {
  const { spec } = resource.body;
  validateTargets(resource, spec, collector);
  validateWasm(spec, resource, ['spec'], collector);
  validatePorts(spec, resource, collector);
}

/** The rules of the TrafficExtension API. */
export function validateTrafficExtension(resource: Resource<TrafficExtensionBody>, collector: Collector): void {
  const { spec } = resource.body;
  validateTargets(resource, spec, collector);
  if (spec.wasm === undefined && spec.lua === undefined) {
    collector.problem(resource, ['spec'], 'needs one of wasm and lua');
  }
  if (spec.wasm !== undefined) validateWasm(spec.wasm, resource, ['spec', 'wasm'], collector);
  validatePorts(spec, resource, collector);
}

const schemes = new Set(['', 'file', 'http', 'https', 'oci']);

function validateWasm({ url, vmConfig = {} }: WasmSpec, resource: Resource, path: Path, collector: Collector): void {
  if (!isModuleUrl(url)) {
    const text = 'must be a URL of the scheme oci, file, http or https; without a scheme it is an OCI image';
    collector.problem(resource, [...path, 'url'], text, url);
  }
  const names = new Set<string>();
  for (const [index, { name, valueFrom = 'INLINE', value }] of (vmConfig.env ?? []).entries()) {
    const at = [...path, 'vmConfig', 'env', index];
    if (names.has(name)) collector.problem(resource, [...at, 'name'], 'is there twice', name);
    names.add(name);
    if (valueFrom !== 'INLINE' && value !== undefined) {
      collector.problem(resource, [...at, 'value'], `cannot be set with valueFrom ${valueFrom}`, value);
    }
  }
}

function isModuleUrl(url: string): boolean {
  const text = schemeOfRequest(url) === undefined ? `http://${url}` : url;
  const scheme = schemeOfRequest(text);
  return scheme !== undefined && schemes.has(scheme) && schemeOf(text) !== undefined;
}

function validatePorts({ match = [] }: Matching, resource: Resource, collector: Collector): void {
  for (const [index, { ports = [] }] of match.entries()) {
    const numbers = new Set<number>();
    for (const [at, { number }] of ports.entries()) {
      const path = ['spec', 'match', index, 'ports', at, 'number'];
      if (numbers.has(number)) collector.problem(resource, path, 'is there twice', number);
      numbers.add(number);
    }
  }
}
