import type { Clock, Random } from 'inmesh/identity';
import type { Workload } from 'inmesh/model';
import type { XdsProfile } from '../compile/compile.ts';
import type { JsonObject } from '../proto/struct.ts';
import type { Environment } from './node.ts';
import type { XdsServer } from './server.ts';

/**
 * Options of {@link xdsSource}. In a pod of Istio with its usual mounts none is needed. What is left
 * out comes from the bootstrap, then from the variables that istio-agent has, then from the defaults.
 */
export interface XdsSourceOptions {
  /**
   * How resources are named. `istio` (default): as istiod does for sidecars; all that it has for this
   * process. `grpc`: as gRPC asks for them; the listeners of `services`, and what they lead to.
   * With a `bootstrap` the default is `grpc`.
   */
  readonly profile?: XdsProfile;
  /**
   * Where the control plane is: `host:port` with Istio's TLS and token, or more of it; several in order
   * of preference. Default: `istiod.istio-system.svc:15012`, or `discoveryAddress` of `PROXY_CONFIG`.
   */
  readonly server?: string | XdsServer | readonly XdsServer[];
  /** `delta` (incremental; default of profile `istio`) or `sotw` (state of the world; default of `grpc`). */
  readonly protocol?: 'delta' | 'sotw';
  /** Profile `grpc`: the services that this process calls, `host:port`, each the name of a listener. */
  readonly services?: readonly string[];
  /**
   * Profile `grpc`: addresses that this process serves at, `0.0.0.0:8080`; together with the
   * bootstrap's `server_listener_resource_name_template` they are names of listeners. Default none.
   */
  readonly serves?: readonly string[];
  /** Profile `grpc`: `%s` is replaced by an address of `serves`. Default Istio's, `xds.istio.io/grpc/lds/inbound/%s`. */
  readonly serverListenerTemplate?: string;
  /** Who asks. What is left out is made of the workload and of the pod's environment. */
  readonly node?: NodeOptions;
  /** Whom the configuration is for. Default: the mesh's. */
  readonly workload?: Workload;
  /**
   * gRPC's bootstrap: its content, or `true` for the file or the text that `GRPC_XDS_BOOTSTRAP` or
   * `GRPC_XDS_BOOTSTRAP_CONFIG` has. Default none.
   */
  readonly bootstrap?: true | JsonObject;
  /** Further headers (gRPC metadata) for each stream, lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * What about resources that the control plane deletes, or says not to have any more? `honour`
   * (default): they are gone. `ignore`: they stay (gRFC A53); a mistake over there breaks nothing here, and a
   * policy or a cluster that was taken away on purpose stays in force as well.
   */
  readonly deletions?: 'honour' | 'ignore';
  /** How long a resource that was asked for may take before it does not exist, milliseconds. Default 15,000. */
  readonly missingMs?: number;
  /** Largest response, and most that may wait until the control plane reads it, bytes. Default 67,108,864. */
  readonly maxMessageBytes?: number;
  /** Most resources of one type. Default 100,000. */
  readonly maxResources?: number;
  /**
   * File to keep the last good configuration in. A process that starts while no control plane can be
   * reached begins with it, and says so. It has what the control plane sent; only its owner can read it. Default none.
   */
  readonly lastGoodFile?: string;
  /** Default `process.env`. */
  readonly env?: Environment;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Who asks. */
export interface NodeOptions {
  /** Default, for Istio: `sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.DOMAIN`. */
  readonly id?: string;
  /** Default `APP.NAMESPACE`. */
  readonly cluster?: string;
  /** IP addresses of this process, as the control plane knows them. Default: `INSTANCE_IP`, `POD_IP`, else those of the machine. */
  readonly addresses?: readonly string[];
  /** Name of the pod. `POD_NAME`, else the name of the workload. */
  readonly pod?: string;
  readonly locality?: { readonly region?: string; readonly zone?: string; readonly subZone?: string };
  /** Goes over what is made of the environment. */
  readonly metadata?: JsonObject;
}
