import type { ForwardClientCert, ForwardClientCertMode, PathNormalization, RbacFilter } from 'inmesh/model';
import type { HttpConnectionManager } from '../proto/envoy/http-connection-manager.ts';
import { cannot, type Place } from './inbound-unpack.ts';

/** What a HttpConnectionManager does with each request before its filters. */
export interface ConnectionSettings {
  readonly forwardClientCert: ForwardClientCert;
  readonly pathNormalization: PathNormalization;
  readonly numTrustedProxies: number;
}

const escapedSlashes: readonly unknown[] = [
  'IMPLEMENTATION_SPECIFIC_DEFAULT',
  'KEEP_UNCHANGED',
  'UNESCAPE_AND_FORWARD',
];

/** @throws ResourceError for what would let other requests pass than Envoy would */
export function connectionSettings(
  manager: HttpConnectionManager,
  rbac: readonly RbacFilter[],
  place: Place,
): ConnectionSettings {
  if (manager.original_ip_detection_extensions.length > 0 && JSON.stringify(rbac).includes('"remoteIp"')) {
    throw cannot(
      place,
      'original_ip_detection_extensions',
      'cannot be used here, and policies ask for the address of the caller',
    );
  }
  if (manager.use_remote_address !== true) place.note('use_remote_address');
  return {
    forwardClientCert: forwardClientCert(manager, place),
    pathNormalization: pathNormalization(manager, place),
    numTrustedProxies: manager.xff_num_trusted_hops,
  };
}

function pathNormalization(manager: HttpConnectionManager, place: Place): PathNormalization {
  const { merge_slashes: merge, normalize_path: normalize, path_with_escaped_slashes_action: action } = manager;
  if (!escapedSlashes.includes(action)) {
    throw cannot(place, 'path_with_escaped_slashes_action', 'expected KEEP_UNCHANGED or UNESCAPE_AND_FORWARD', action);
  }
  if (action === 'UNESCAPE_AND_FORWARD') return 'DECODE_AND_MERGE_SLASHES';
  if (merge) return 'MERGE_SLASHES';
  return normalize === true ? 'BASE' : 'NONE';
}

function forwardClientCert(manager: HttpConnectionManager, place: Place): ForwardClientCert {
  const { forward_client_cert_details: mode, set_current_client_cert_details: details } = manager;
  if (typeof mode === 'number')
    throw cannot(place, 'forward_client_cert_details', 'expected a mode that is known here', mode);
  return {
    mode: mode satisfies ForwardClientCertMode,
    details: {
      subject: details?.subject === true,
      uri: details?.uri === true,
      dns: details?.dns === true,
      cert: details?.cert === true,
      chain: details?.chain === true,
    },
  };
}
