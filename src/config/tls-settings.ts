import { type ReadTlsWords, readCipherSuites, readCurves } from '../lib/tls-words.ts';
import type { TlsParameters } from '../model/tls-parameters.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { Resource } from './resource.ts';

/** Istio `MeshConfig.TLSConfig`. */
export interface TlsConfigSpec {
  readonly minProtocolVersion?: 'TLS_AUTO' | 'TLSV1_2' | 'TLSV1_3';
  readonly ecdhCurves?: readonly string[];
  readonly cipherSuites?: readonly string[];
}

export interface MeshTlsSpec {
  /** Of the mesh's own TLS, as servers speak it. */
  readonly meshMTLS?: TlsConfigSpec;
  /** Of all other TLS. */
  readonly tlsDefaults?: TlsConfigSpec;
}

/**
 * What TLS may be spoken. As in Istio `meshMTLS` is for servers: clients of the mesh speak what the server wants
 * (`BuildInboundTLS`, `buildUpstreamClusterTLSContext`); and `tlsDefaults` gives clients suites and curves, and no
 * version (`applyTLSDefaults`).
 */
export function compileTlsSettings(
  resource: Resource,
  { meshMTLS, tlsDefaults }: MeshTlsSpec,
  path: Path,
  collector: Collector,
): Pick<MeshSettings, 'inboundTls' | 'originatedTls'> {
  const { minProtocolVersion: _, ...ofClients } = tlsDefaults ?? {};
  const inboundTls = parametersOf(resource, meshMTLS ?? {}, true, [...path, 'meshMTLS'], collector);
  const originatedTls = parametersOf(resource, ofClients, false, [...path, 'tlsDefaults'], collector);
  return {
    ...(inboundTls === undefined ? {} : { inboundTls }),
    ...(originatedTls === undefined ? {} : { originatedTls }),
  };
}

/** Nothing where it says nothing but what is so anyway. */
function parametersOf(
  resource: Resource,
  { cipherSuites = [], ecdhCurves = [], minProtocolVersion }: TlsConfigSpec,
  inMesh: boolean,
  path: Path,
  collector: Collector,
): TlsParameters | undefined {
  const words = (read: ReadTlsWords, field: string): readonly string[] => {
    if (read.problem === undefined) return read.words;
    collector.problem(resource, [...path, field, read.index], read.problem, read.value);
    return [];
  };
  const suites = words(readCipherSuites(cipherSuites, inMesh), 'cipherSuites');
  const curves = words(readCurves(ecdhCurves), 'ecdhCurves');
  const newest = minProtocolVersion === 'TLSV1_3';
  if (newest && suites.length > 0) {
    const note = 'these are suites of TLS 1.2, which is not spoken where minProtocolVersion is TLSV1_3';
    collector.warn(resource, [...path, 'cipherSuites'], 'ignored', note);
  }
  if (!newest && suites.length + curves.length === 0) return undefined;
  return {
    ...(newest ? { minVersion: 'TLSv1.3' } : {}),
    ...(suites.length === 0 ? {} : { cipherSuites: suites }),
    ...(curves.length === 0 ? {} : { curves }),
  };
}
