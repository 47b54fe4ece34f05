import { message, string } from '../kinds.ts';
import { optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type JsonObject, struct } from '../struct.ts';

/** `envoy.config.core.v3.Locality`. */
export interface NodeLocality {
  readonly region: string;
  readonly zone: string;
  readonly sub_zone: string;
}

const locality: Schema<NodeLocality> = schema<NodeLocality>('envoy.config.core.v3.Locality', {
  fields: { region: single(1, string), zone: single(2, string), sub_zone: single(3, string) },
});

/** `envoy.config.core.v3.Node`: who asks. */
export interface Node {
  readonly id: string;
  readonly cluster: string;
  readonly metadata: JsonObject | undefined;
  readonly locality: NodeLocality | undefined;
  readonly user_agent_name: string;
  readonly user_agent_version: string | undefined;
  readonly client_features: readonly string[];
}

export const nodeSchema: Schema<Node> = schema<Node>('envoy.config.core.v3.Node', {
  fields: {
    id: single(1, string),
    cluster: single(2, string),
    metadata: single(3, struct),
    locality: single(
      4,
      message(() => locality),
    ),
    user_agent_name: single(6, string),
    user_agent_version: optional(7, string),
    client_features: repeated(10, string),
  },
  ignored: {
    8: 'user_agent_build_version',
    9: 'extensions',
    11: 'listening_addresses',
    12: 'dynamic_parameters',
  },
});
