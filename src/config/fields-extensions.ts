import { policySelector, targetRef, targetRefs } from './fields-selector.ts';
import type { FieldInput, FieldType, KindTable } from './schema.ts';
import { integer, list, nullable, object, oneOfValues, openObject, required, string } from './schema.ts';

const priority = nullable(integer(-2_147_483_648, 2_147_483_647));
const phase = (none: string): FieldType => oneOfValues(none, 'AUTHN', 'AUTHZ', 'STATS');
const match = list(
  object({
    mode: oneOfValues('UNDEFINED', 'CLIENT', 'SERVER', 'CLIENT_AND_SERVER'),
    ports: list(object({ number: required(integer(1, 65_535)) })),
  }),
);

const wasm: Readonly<Record<string, FieldInput>> = {
  url: required(string({ minLength: 1 })),
  sha256: string({ pattern: /^([a-f0-9]{64})?$/, mustBe: '64 of the characters 0-9 and a-f' }),
  imagePullPolicy: oneOfValues('UNSPECIFIED_POLICY', 'IfNotPresent', 'Always'),
  imagePullSecret: string({ minLength: 1, maxLength: 253 }),
  verificationKey: string({ anyCharacter: true }),
  pluginConfig: openObject({}),
  pluginName: string({ minLength: 1, maxLength: 256 }),
  failStrategy: oneOfValues('FAIL_CLOSE', 'FAIL_OPEN', 'FAIL_RELOAD'),
  vmConfig: object({
    env: list(
      object({
        name: required(string({ minLength: 1, maxLength: 256 })),
        valueFrom: oneOfValues('INLINE', 'HOST'),
        value: string({ maxLength: 2_048, anyCharacter: true }),
      }),
      256,
    ),
  }),
  type: oneOfValues('UNSPECIFIED_PLUGIN_TYPE', 'HTTP', 'NETWORK'),
};

const proxyOnly = 'configures the proxy, and there is none';

/** `extensions.istio.io` WasmPlugin. */
export const wasmPluginTable: KindTable = {
  kind: 'WasmPlugin',
  group: 'extensions.istio.io',
  versions: ['v1alpha1'],
  status: 'ignored',
  note: proxyOnly,
  reference: 'https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/',
  fields: {
    spec: required(
      object({
        selector: policySelector,
        targetRef,
        targetRefs,
        ...wasm,
        phase: phase('UNSPECIFIED_PHASE'),
        priority,
        match,
      }),
    ),
  },
};

/** `extensions.istio.io` TrafficExtension: a WasmPlugin or a Lua filter. */
export const trafficExtensionTable: KindTable = {
  kind: 'TrafficExtension',
  group: 'extensions.istio.io',
  versions: ['v1alpha1'],
  status: 'ignored',
  note: proxyOnly,
  reference: 'https://istio.io/latest/docs/reference/config/proxy_extensions/v1alpha1/traffic_extension/',
  fields: {
    spec: required(
      object(
        {
          selector: policySelector,
          targetRefs,
          phase: phase('UNSPECIFIED'),
          priority,
          match,
          wasm: object(wasm),
          lua: object({ inlineCode: required(string({ minLength: 1, maxLength: 65_536, anyCharacter: true })) }),
        },
        ['wasm', 'lua'],
      ),
    ),
  },
};
